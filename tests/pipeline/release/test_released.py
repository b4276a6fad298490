"""What a release has of an image: readers that turn it and readers that do not see the pixels of its maps."""

import hashlib
import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.collection.frames import size_in
from pipeline.collection.images import decode_framed, decode_rgb
from pipeline.errors import SampleError
from pipeline.files.orientation import orientation
from pipeline.release.released import RELEASED_AS, as_readers_see, released_image
from pipeline.release.source import Picked
from tests.pipeline.files.make_images import (
    ADOBE_RGB,
    HEIGHT,
    PIXELS,
    WIDTH,
    chunk,
    deep_png,
    encoded,
    exif_with,
    icc_profile,
    ink_profile,
    png_with,
)
from tests.pipeline.make import make_row, make_sample


def predicted(content, default="stored", annotated_px=None):
    """What a run knows of an image."""
    found = decode_framed("x", content, max_pixels=10_000, annotated_px=annotated_px, default=default)
    height, width = found.pixels.shape[:2]
    row = make_row(frame=found.frame, exif_orientation=found.exif_orientation)
    return Picked(sample=make_sample(width=width, height=height), row=row), found.pixels


def readings(content):
    """What a reader that obeys orientations sees, and one that does not."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB")), np.asarray(image.convert("RGB"))


def deep(mode):
    return encoded("PNG", (PIXELS[:, :, 0].astype(np.uint16) << 4), mode=mode)


def of_mode(mode, image_format, **options):
    file = io.BytesIO()
    Image.new(mode, (WIDTH, HEIGHT), (120, 30, 60, 10)[: len(Image.new(mode, (1, 1)).getbands())]).save(
        file, image_format, **options
    )
    return file.getvalue()


# Properties


@pytest.mark.parametrize("default", ["stored", "upright"])
@pytest.mark.parametrize("stated", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_opencv_which_obeys_orientations_sees_the_pixels_that_were_segmented(image_format, stated, default):
    content = encoded(image_format, exif=exif_with(stated))
    image, pixels = predicted(content, default)
    _, found = released_image(image, content)
    obeying = cv2.imdecode(np.frombuffer(found, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert obeying.shape == pixels.shape
    assert np.abs(obeying.astype(int) - pixels).mean() < 3  # its decoders round in their own ways


@settings(deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "JPEG2000"]),
    st.integers(1, 8),
    st.sampled_from(["stored", "upright"]),
)
def test_all_readers_see_the_pixels_that_were_segmented(image_format, stated, default):
    options = {"exif": exif_with(stated)} if image_format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") else {}
    content = encoded(image_format, **options)
    image, pixels = predicted(content, default)
    released, found = released_image(image, content)
    obeying, other = readings(found)
    assert np.array_equal(obeying, other)
    assert np.array_equal(other, pixels)
    assert (released.sha256, released.file_bytes) == (hashlib.sha256(found).hexdigest(), len(found))
    is_turned = options and stated != 1
    if image_format in ("AVIF", "JPEG2000"):
        expected = "turned_png" if is_turned and default == "upright" else "png"
    elif is_turned:
        expected = "turned_png" if default == "upright" else "orientation_neutralised"
    else:
        expected = "original"
    assert released.released_as == expected
    assert (found == content) == (released.released_as == "original")


@settings(deadline=None)
@given(st.sampled_from(["JPEG", "PNG"]), st.integers(5, 8), st.sampled_from(["stored", "upright"]))
def test_the_frame_that_the_annotated_size_tells_is_released(image_format, stated, meant):
    content = encoded(image_format, exif=exif_with(stated))
    image, pixels = predicted(content, annotated_px=size_in(meant, (WIDTH, HEIGHT), stated))
    _, found = released_image(image, content)
    assert np.array_equal(readings(found)[0], pixels)
    assert orientation(found) == 1


def test_the_same_image_is_released_in_the_same_bytes():
    content = encoded("JPEG", exif=exif_with(6))
    image, _ = predicted(content, "upright")
    assert released_image(image, content) == released_image(image, content)


# Examples


@pytest.mark.parametrize(
    "content",
    [
        deep(None),
        deep_png(PIXELS.astype(np.uint16) << 8 | 255, 2),
        of_mode("LAB", "TIFF"),
        of_mode("CMYK", "TIFF", icc_profile=ink_profile()),
        of_mode("CMYK", "JPEG", icc_profile=ink_profile()),
    ],
    ids=["12 bits", "16 bits in colour", "Lab", "inks in a TIFF", "inks in a JPEG"],
)
def test_what_common_readers_read_wrongly_or_not_at_all_is_a_png_of_the_pixels(content):
    image, pixels = predicted(content)
    released, found = released_image(image, content)
    assert released.released_as == "png"
    assert np.array_equal(readings(found)[0], pixels)
    with Image.open(io.BytesIO(found)) as opened:
        assert (opened.format, opened.mode) == ("PNG", "RGB")


@pytest.mark.parametrize(
    "content",
    [
        encoded("JPEG", icc_profile=icc_profile(2.2, ADOBE_RGB)),
        of_mode("CMYK", "JPEG"),
        encoded("PNG", mode="RGBA"),
        encoded("PNG", mode="P"),
        encoded("PNG", mode="1"),
        encoded("JPEG", PIXELS[:, :, 0]),
    ],
    ids=["with a profile", "inks without one", "transparent", "palette", "two levels", "grey"],
)
def test_what_they_read_is_released_as_it_is(content):
    image, _ = predicted(content)
    released, found = released_image(image, content)
    assert (released.released_as, found) == ("original", content)


def test_an_orientation_in_old_text_that_only_pillow_obeys_makes_a_png():
    text = f"\nexif\n  {len(exif_with(6))}\n{exif_with(6).hex()}"
    content = png_with(before=chunk(b"tEXt", b"Raw profile type exif\0" + text.encode()))
    image, pixels = predicted(content)
    assert readings(content)[0].shape != pixels.shape
    released, found = released_image(image, content)
    assert released.released_as == "png"
    assert np.array_equal(readings(found)[0], pixels)


def test_metadata_that_readers_stumble_over_makes_a_png():
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8 << 20)))
    content = png_with(before=bomb)
    image, pixels = predicted(content)
    released, found = released_image(image, content)
    assert released.released_as == "png"
    assert np.array_equal(readings(found)[1], pixels)


@pytest.mark.parametrize(
    ("image_format", "stated", "released_as"),
    [
        ("JPEG", 1, "original"),
        ("JPEG", 6, "orientation_neutralised"),
        ("TIFF", 3, "turned_png"),
        ("TIFF", 6, "turned_png"),
        ("TIFF", 1, "original"),
    ],
)
def test_runs_of_earlier_versions_turned_tiffs_and_nothing_else(image_format, stated, released_as):
    content = encoded(image_format, exif=exif_with(stated))
    with Image.open(io.BytesIO(content)) as opened:
        as_then = np.asarray(opened.convert("RGB"))
    height, width = as_then.shape[:2]
    image = Picked(sample=make_sample(width=width, height=height), row=make_row(frame="", exif_orientation=0))
    released, found = released_image(image, content)
    assert released.released_as == released_as
    assert np.array_equal(readings(found)[0], as_then)


def test_everything_that_can_be_done_has_a_meaning():
    assert set(RELEASED_AS) == {"original", "orientation_neutralised", "turned_png", "png"}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("default", ["stored", "upright"])
def test_opencv_sees_the_same(image_format, default):
    cv2 = pytest.importorskip("cv2")
    content = encoded(image_format, exif=exif_with(6))
    image, pixels = predicted(content, default)
    _, found = released_image(image, content)
    seen = cv2.imdecode(np.frombuffer(found, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert seen.shape == pixels.shape
    assert np.abs(seen.astype(int) - decode_rgb("x", found)).max() <= (0 if image_format == "PNG" else 6)


# Faults


def test_as_readers_see_has_a_limit_on_pixels():
    assert as_readers_see(encoded("JPEG"), WIDTH * HEIGHT).size_px == (WIDTH, HEIGHT)
    with pytest.raises(SampleError, match="too_many_pixels"):
        as_readers_see(encoded("JPEG"), WIDTH * HEIGHT - 1)
