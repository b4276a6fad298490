"""The decision on the frame of an image, and the turn itself."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.collection.frames import default_frame, frame_of, size_in, upright
from pipeline.collection.images import decode_framed, decode_sample
from pipeline.errors import SampleError
from tests.pipeline.files.make_images import HEIGHT, PIXELS, WIDTH, encoded, exif_with
from tests.pipeline.make import make_sample

SIDES = st.integers(1, 30)
ORIENTATIONS = st.integers(1, 8)
FRAMES = st.sampled_from(["stored", "upright"])


def decoded(content, annotated_px=None, default="stored"):
    return decode_framed("x", content, max_pixels=10_000, annotated_px=annotated_px, default=default)


# Properties


@given(SIDES, SIDES, ORIENTATIONS, FRAMES, FRAMES)
def test_a_size_that_only_one_frame_has_decides_and_the_default_decides_the_rest(width, height, stated, meant, default):
    annotated_px = size_in(meant, (width, height), stated)
    found = frame_of((width, height), stated, annotated_px, default)
    assert size_in(found, (width, height), stated) == annotated_px
    is_told = stated >= 5 and width != height
    assert found == ("stored" if stated == 1 else meant if is_told else default)


@given(SIDES, SIDES, ORIENTATIONS, FRAMES)
def test_without_an_annotated_size_the_default_decides(width, height, stated, default):
    assert frame_of((width, height), stated, None, default) == ("stored" if stated == 1 else default)


@given(SIDES, SIDES, ORIENTATIONS)
def test_turning_is_what_readers_that_obey_do(width, height, stated):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = stated
    turned = upright(pixels, stated)
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
    assert turned.shape[1::-1] == size_in("upright", (width, height), stated)
    assert np.array_equal(upright(pixels[:, :, 0], stated), turned[:, :, 0])


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]), ORIENTATIONS, FRAMES)
def test_every_format_is_decoded_as_stored_or_upright_as_the_frame_says(image_format, stated, default):
    content = encoded(image_format, exif=exif_with(stated))
    stored = decoded(content).pixels
    found = decoded(content, default=default)
    assert (found.frame, found.exif_orientation) == (default if stated != 1 else "stored", stated)
    assert stored.shape == PIXELS.shape
    assert np.array_equal(found.pixels, upright(stored, stated if found.frame == "upright" else 1))
    assert found.pixels.flags.c_contiguous
    assert found.pixels.flags.writeable


# Examples


@pytest.mark.parametrize(
    ("orientation", "annotated", "frame"),
    [
        ("auto", True, "stored"),
        ("auto", False, "upright"),
        ("stored", True, "stored"),
        ("stored", False, "stored"),
        ("upright", True, "upright"),
        ("upright", False, "upright"),
    ],
)
def test_the_option_decides_the_default(orientation, annotated, frame):
    assert default_frame(orientation, annotated=annotated) == frame


def test_the_annotated_size_of_a_sample_decides():
    content = encoded("JPEG", exif=exif_with(6))
    for width, height, frame in ((WIDTH, HEIGHT, "stored"), (HEIGHT, WIDTH, "upright")):
        sample = make_sample(width=width, height=height)
        found = decode_sample(sample, content, max_pixels=10_000, default="stored")
        assert (found.frame, found.exif_orientation, found.pixels.shape[:2]) == (frame, 6, (height, width))


# Faults


@pytest.mark.parametrize("stated", [1, 3, 6])
def test_a_size_that_no_frame_has_is_refused_with_those_that_there_are(stated):
    with pytest.raises(SampleError) as caught:
        decoded(encoded("JPEG", exif=exif_with(stated)), (WIDTH, WIDTH))
    assert caught.value.reason == "size_mismatch"
    assert f"{WIDTH} x {HEIGHT} px (width x height)" in caught.value.detail
    turned = f"or {HEIGHT} x {WIDTH} px if turned by its orientation 6"
    assert (turned in caught.value.detail) == (stated == 6)
    assert f"{WIDTH} x {WIDTH} px as annotated" in caught.value.detail


def test_a_size_that_fits_only_after_a_turn_that_exchanges_nothing_is_refused_too():
    with pytest.raises(SampleError, match="size_mismatch"):
        decoded(encoded("JPEG", exif=exif_with(3)), (HEIGHT, WIDTH))


def test_pillow_still_turns_tiffs_so_that_their_tag_has_to_be_taken_out():
    with Image.open(io.BytesIO(encoded("TIFF", exif=exif_with(6)))) as image:
        assert np.asarray(image).shape[:2] == (WIDTH, HEIGHT)
