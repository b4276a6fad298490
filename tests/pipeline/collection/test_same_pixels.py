"""The Python API (`model/images.py`) gets the pixels that a run gets of the same file."""

import io

import numpy as np
import pytest
from PIL import Image

from model.images import FORMATS, pixels_of
from pipeline.collection.images import decode_rgb
from pipeline.files.formats import SUPPORTED
from tests.pipeline.collection.test_colours import ADOBE
from tests.pipeline.files.make_images import PIXELS, encoded, exif_with

ALPHA = np.dstack([PIXELS, (PIXELS[:, :, 0] * 3).astype(np.uint8)])
KINDS = {
    "JPEG": encoded("JPEG"),
    "grey JPEG": encoded("JPEG", mode="L"),
    "inks": encoded("JPEG", mode="CMYK"),
    "PNG": encoded("PNG"),
    "palette": encoded("PNG", mode="P"),
    "transparent palette": encoded("PNG", mode="P", transparency=3),
    "transparent PNG": encoded("PNG", ALPHA),
    "transparent WebP": encoded("WEBP", ALPHA),
    "transparent GIF": encoded("GIF", ALPHA),
    "bits": encoded("PNG", mode="1"),
    "16-bit grey": encoded("PNG", PIXELS[:, :, 0].astype(np.uint16) * 16),
    "BMP": encoded("BMP"),
    "TIFF": encoded("TIFF"),
    "profile": encoded("JPEG", icc_profile=ADOBE),
    **{
        f"turned by {turn} {name}": encoded(name, exif=exif_with(turn))
        for name in ("JPEG", "PNG", "WEBP")
        for turn in (3, 6)
    },
    "turned TIFF": encoded("TIFF", exif=exif_with(6)),
    "turned palette": encoded("PNG", mode="P", transparency=3, exif=exif_with(5)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_and_the_picture_that_pillow_opens_of_it_have_the_pixels_of_a_run(kind, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(KINDS[kind])
    expected = decode_rgb("photo", KINDS[kind], default="upright")
    assert np.array_equal(pixels_of(path), expected)
    with Image.open(io.BytesIO(KINDS[kind])) as opened:
        assert np.array_equal(pixels_of(opened), expected)
        assert np.array_equal(pixels_of(opened), expected)  # decoded by then


def test_a_picture_of_any_orientation_is_turned_as_in_a_run():
    shown = {pixels_of(Image.open(io.BytesIO(encoded("PNG", exif=exif_with(turn))))).tobytes() for turn in range(1, 9)}
    assert len(shown) == 8


def test_the_formats_of_a_run_are_opened():
    assert set(SUPPORTED) < set(FORMATS)
