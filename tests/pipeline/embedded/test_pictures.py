"""Pictures: which serve, and how they are cropped."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.embedded.pictures import PHOTO_PX, is_one_object, is_photographic, is_texture, read_picture, read_pictures


def make_png(side=120, mode="RGBA"):
    y, x = np.mgrid[:side, :side]
    inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 2.2) ** 2
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 4), dtype=np.uint8)
    pixels[..., 3] = np.where(inside, 255, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_cutout_is_cropped_to_what_is_visible(make_source):
    assert read_picture(make_png(200), make_source()).shape == (181, 181, 4)


@pytest.mark.parametrize(("side", "mode"), [(80, "RGBA"), (200, "RGB")], ids=["too small", "fully opaque"])
def test_a_cutout_that_is_too_small_or_fills_its_box_does_not_serve(make_source, side, mode):
    assert read_picture(make_png(side, mode), make_source()) is None


def test_of_frames_side_by_side_the_first_is_taken(make_source):
    assert read_picture(make_png(200, "RGB"), make_source(kind="photo", frames=2)).shape == (200, 100, 3)


def test_a_photograph_is_scaled_down_to_its_limit(make_source):
    assert read_picture(make_png(PHOTO_PX + 100, "RGB"), make_source(kind="photo")).shape == (PHOTO_PX, PHOTO_PX, 3)


def test_the_same_bytes_under_two_names_are_one_picture(make_source, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(make_png())
    assert len(list(read_pictures(sorted(tmp_path.iterdir()), make_source()))) == 1


def test_two_separate_things_are_not_one_object():
    alpha = np.zeros((100, 100), np.uint8)
    alpha[10:90, 10:45] = 255
    assert is_one_object(alpha)
    alpha[10:90, 55:90] = 255
    assert not is_one_object(alpha)


def test_a_few_threads_are_no_object():
    alpha = np.zeros((100, 100), np.uint8)
    alpha[48:52] = 255
    assert not is_one_object(alpha)


def test_flat_art_is_not_photographic():
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 4), dtype=np.uint8)
    noise[..., 3] = 255
    assert is_photographic(noise)
    assert not is_photographic(np.full((90, 90, 4), 255, np.uint8))


def test_a_texture_looks_alike_everywhere():
    noise = np.random.default_rng(0).integers(60, 200, (128, 128, 3), dtype=np.uint8)
    assert is_texture(noise)
    noise[:64] //= 4
    assert not is_texture(noise)


def test_one_colour_is_no_texture():
    assert not is_texture(np.full((128, 128, 3), 90, np.uint8))
