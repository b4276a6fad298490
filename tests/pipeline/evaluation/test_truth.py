"""Masks of every kind that datasets use are read as their authors meant them, or refused."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pipeline.errors import SampleError
from pipeline.evaluation.truth import grey_truth_of, read_truth, truth_of

RIGHT = np.array([[False, True, True], [False, False, True]])
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0]
MAROON = (128, 0, 0)


def grey(levels):
    return Image.fromarray(np.asarray(levels))


def palette(indices, colours):
    image = Image.fromarray(np.asarray(indices, np.uint8), "L").copy()
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours)
    return image


def stored(image, tmp_path, name="mask.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def coloured(colour):
    return grey(RIGHT[:, :, None] * np.array(colour, np.uint8))


def cut_out(rgb, alpha):
    pixels = np.concatenate([np.broadcast_to(rgb, (*RIGHT.shape, 3)), np.asarray(alpha)[:, :, None]], axis=2)
    return grey(pixels.astype(np.uint8))


KINDS = {
    "0 and 255": grey(RIGHT.astype(np.uint8) * 255),
    "0 and 1": grey(RIGHT.astype(np.uint8)),
    "1 bit": grey(RIGHT),
    "grey in three channels": coloured((255, 255, 255)),
    "0 and 1 in three channels": coloured((1, 1, 1)),
    "opaque": cut_out(RIGHT[:, :, None] * 255, np.full(RIGHT.shape, 255)),
    "white, its alpha is the mask": cut_out((255, 255, 255), RIGHT * 255),
    "grey and alpha": grey(RIGHT.astype(np.uint8) * 255).convert("LA"),
    "16 bits": grey(RIGHT.astype(np.uint16) * 65535),
    "16 bits of 0 and 1": grey(RIGHT.astype(np.uint16)),
    "palette of black and white": palette(RIGHT, [0, 0, 0, 255, 255, 255]),
    "palette of white and black": palette(~RIGHT, [255, 255, 255, 0, 0, 0]),
    "palette of all greys, 0 and 255": palette(RIGHT * 255, [v for v in range(256) for _ in range(3)]),
    "palette of all greys, 0 and 1": palette(RIGHT, [v for v in range(256) for _ in range(3)]),
    "label map of dark colours": palette([[0, 1, 1], [0, 0, 2]], VOC),
    "label map whose only object is grey": palette(RIGHT, [0, 0, 0, 128, 128, 128, 128, 0, 0]),
    "maroon on black": coloured(MAROON),
    "red on black": coloured((255, 0, 0)),
    "the darkest blue on black": coloured((0, 0, 1)),
    "opaque maroon on black": cut_out(RIGHT[:, :, None] * MAROON, np.full(RIGHT.shape, 255)),
    "maroon where it is opaque": cut_out(MAROON, RIGHT * 255),
    "white where it is opaque, on hidden grey": cut_out(np.where(RIGHT[:, :, None], 255, 77), RIGHT * 255),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_mask_means_the_same(kind, tmp_path):
    found = read_truth(stored(KINDS[kind], tmp_path))
    assert found.dtype == np.bool_
    assert np.array_equal(found, RIGHT)


@pytest.mark.parametrize("name", ["mask.bmp", "mask.gif", "mask.tif", "mask.webp", "no_suffix_that_is_true.jpg"])
def test_the_content_decides_the_format(name, tmp_path):
    content = io.BytesIO()
    KINDS["0 and 255"].save(content, "PNG" if name.endswith("jpg") else Image.registered_extensions()[name[4:]])
    (tmp_path / name).write_bytes(content.getvalue())
    assert np.array_equal(read_truth(tmp_path / name), RIGHT)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (grey(np.array([[0, 127, 128, 129, 255]], np.uint8)), [0, 0, 0, 1, 1]),
        (grey(np.array([[0, 128 * 257, 128 * 257 + 1, 65535]], np.uint16)), [0, 0, 1, 1]),
        (grey(np.array([[0, 1, 2]], np.uint8)), [0, 0, 0]),
        (grey(np.array([[1, 1]], np.uint8)), [1, 1]),
        (grey(np.array([[[200, 0, 0], [255, 255, 0]]], np.uint8)), [0, 1]),  # luma 60 and 226
        (palette([[0, 1, 2]], [0, 0, 0, 128, 128, 128, 129, 129, 129]), [0, 0, 1]),
    ],
)
def test_half_of_the_range_is_the_bound_as_in_the_library(image, expected):
    assert truth_of(image).tolist() == [[bool(value) for value in expected]]


@given(arrays.arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 2, 127, 128, 129, 255])))
def test_grey_masks_are_read_as_the_library_reads_them_or_refused(levels):
    if levels.any() and levels.max() <= 128 and len(np.unique(levels)) < 3:
        with pytest.raises(ValueError, match=rf"its greatest level is {levels.max()}"):
            truth_of(grey(levels))
    else:
        assert np.array_equal(truth_of(grey(levels)), levels > 128)


@given(st.tuples(*[st.integers(0, 255)] * 3).filter(lambda colour: len(set(colour)) > 1))
def test_an_object_in_one_colour_on_black_is_the_object_however_dark(colour):
    assert np.array_equal(truth_of(coloured(colour)), RIGHT)
    assert np.array_equal(truth_of(cut_out(colour, RIGHT * 255)), RIGHT)
    assert np.array_equal(grey_truth_of(coloured(colour)) > 128, RIGHT)


def test_the_noise_of_a_jpeg_changes_nothing_but_its_edges(tmp_path):
    square = np.zeros((64, 64), np.uint8)
    square[16:48, 16:48] = 255
    found = read_truth(stored(grey(square), tmp_path, "mask.jpg", quality=75))
    assert np.array_equal(found, square > 0)


def test_masks_without_an_object_are_empty(tmp_path):
    nothing = np.zeros((2, 2), np.uint8)
    kinds = [grey(nothing), grey(nothing > 0), grey(np.zeros((2, 2, 3), np.uint8)), grey(np.zeros((2, 2, 4), np.uint8))]
    for number, image in enumerate(kinds):
        assert not read_truth(stored(image, tmp_path, f"{number}.png")).any()


@pytest.mark.parametrize(
    ("image", "name", "said"),
    [
        (grey(np.zeros((2, 2), np.float32)), "mask.tif", "mode F"),
        (grey(np.zeros((2, 2), np.int32)), "mask.tif", "mode I"),
        (palette([[0, 1]], [255, 0, 0, 0, 255, 0]), "mask.png", "without black"),
        (palette([[0, 3]], VOC), "mask.png", "index 3 in a palette of 3"),
        (cut_out((0, 0, 0), RIGHT * 255), "mask.png", "seems to stand in its transparency: save it as grey, 0 and 255"),
        (cut_out((0, 0, 0), RIGHT * 255).convert("LA"), "mask.png", "seems to stand in its transparency"),
        (cut_out((0, 0, 0), RIGHT * 200 + 20), "mask.png", "seems to stand in its transparency"),
        (cut_out(np.arange(18).reshape(2, 3, 3) * 14, RIGHT * 255), "mask.png", "several colours, as a cut-out photo"),
        (cut_out(RIGHT[:, :, None] * 255, RIGHT * 0), "mask.png", "all its pixels are transparent"),
        (coloured(MAROON).resize((64, 64), Image.Resampling.BILINEAR), "mask.png", "all its colours are dark"),
        (grey(np.array([[MAROON, (0, 128, 0)]], np.uint8)), "mask.png", "all its colours are dark"),
        (grey(RIGHT.astype(np.uint8) * 127), "mask.png", "greatest level is 127, which is not above half of 255"),
        (grey(RIGHT.astype(np.uint16) * 255), "mask.png", "greatest level is 255, which is not above half of 65535"),
        (coloured((64, 64, 64)), "mask.png", "greatest level is 64"),
    ],
)
def test_an_ambiguous_mask_is_refused_and_not_guessed(image, name, said, tmp_path):
    with pytest.raises(SampleError) as caught:
        read_truth(stored(image, tmp_path, name))
    assert caught.value.reason == "undecodable"
    assert said in caught.value.detail
    assert f"{tmp_path.name}/{name}" in caught.value.detail


def png_bytes():
    content = io.BytesIO()
    KINDS["0 and 255"].save(content, "PNG")
    return content.getvalue()


def claims_to_have(width, height):
    """A small PNG whose header claims the given size."""
    header = b"IHDR" + struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return png_bytes()[:12] + header + struct.pack(">I", zlib.crc32(header)) + png_bytes()[33:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "undecodable"),
        (b"no image at all", "undecodable"),
        (png_bytes()[:50], "undecodable"),
        (png_bytes()[:20], "undecodable"),
        (claims_to_have(20000, 20000), "too_many_pixels"),
        (claims_to_have(10000, 8901), "too_many_pixels"),
    ],
    ids=["empty", "text", "cut", "cut in its header", "huge", "too large"],
)
def test_broken_files_are_named_with_their_folder(content, reason, tmp_path):
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    with pytest.raises(SampleError) as caught:
        read_truth(path)
    assert caught.value.reason == reason
    assert f"{tmp_path.name}/mask.png" in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(SampleError) as caught:
        read_truth(tmp_path / "gone.png")
    assert caught.value.reason == "unreadable"


def test_a_fault_of_the_machine_is_not_blamed_on_the_file(tmp_path, monkeypatch):
    def out_of_handles(*_, **_named):
        raise OSError(24, "Too many open files")

    path = stored(KINDS["0 and 255"], tmp_path)
    for place, name in ((Image, "open"), (Path, "open")):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, out_of_handles)
            with pytest.raises(OSError, match="Too many open files"):
                read_truth(path)


# Grey levels

LEVELS = np.array([[0, 60, 128], [129, 200, 255]], np.uint8)


@pytest.mark.parametrize(
    ("image", "levels"),
    [
        (grey(LEVELS), LEVELS),
        (grey(LEVELS.astype(np.uint16) * 257), LEVELS),
        (grey(np.repeat(LEVELS[:, :, None], 3, 2)), LEVELS),
        (palette([[0, 1, 2], [3, 4, 5]], [level for level in LEVELS.flatten().tolist() for _ in range(3)]), LEVELS),
        (grey(RIGHT.astype(np.uint8)), RIGHT * np.uint8(255)),
        (grey(RIGHT.astype(np.uint16)), RIGHT * np.uint8(255)),
        (grey(RIGHT), RIGHT * np.uint8(255)),
        (palette(RIGHT * 1, VOC), RIGHT * np.uint8(255)),
        (palette(RIGHT * 1, [0, 0, 0, 1, 1, 1]), RIGHT * np.uint8(255)),
        (coloured(MAROON), RIGHT * np.uint8(255)),
    ],
    ids=[
        "8 bits", "16 bits", "RGB", "grey palette", "0 and 1", "0 and 1 of 16 bits", "1 bit", "colours", "dark greys",
        "one dark colour",
    ],
)  # fmt: skip
def test_grey_levels_are_kept_where_a_mask_has_them_and_are_0_and_255_elsewhere(image, levels):
    found = grey_truth_of(image)
    assert found.dtype == np.uint8
    assert np.array_equal(found, levels)


@given(arrays.arrays(np.uint8, (3, 4)).filter(lambda levels: levels.max() > 128 or len(np.unique(levels)) > 2))
def test_the_object_is_what_is_above_half_of_the_grey_levels(levels):
    assert np.array_equal(truth_of(grey(levels)), grey_truth_of(grey(levels)) > 128)


def test_a_mask_in_its_transparency_has_no_grey_levels():
    with pytest.raises(ValueError, match="stand in its transparency"):
        grey_truth_of(cut_out((0, 0, 0), RIGHT * 255))


def test_a_palette_without_background_has_no_grey_levels():
    with pytest.raises(ValueError, match="a palette of colours without black"):
        grey_truth_of(palette([[0, 1], [1, 0]], [9, 9, 0, 0, 9, 9]))
