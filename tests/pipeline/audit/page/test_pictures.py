"""Images as browsers show them: the released bytes wherever they show the right pixels, else a PNG of the pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.audit.page.pictures import shown_image, shown_variance
from pipeline.errors import StorageError

PIXELS = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
ROW = {"key": "000000000001", "width": 12, "height": 8, "frame": "stored"}


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp"), ("GIF", "gif")]
)
def test_what_browsers_show_stays_as_it_is(kind, suffix):
    content = encoded(kind)
    assert shown_image(ROW, content) == (suffix, content)


def test_what_they_do_not_show_becomes_a_png_of_the_pixels():
    suffix, content = shown_image(ROW, encoded("TIFF"))
    assert suffix == "png"
    assert (np.asarray(Image.open(io.BytesIO(content))) == PIXELS).all()


def test_what_they_would_turn_becomes_a_png_of_the_pixels_under_the_mask():
    exif = Image.Exif()
    exif[0x0112] = 6
    suffix, content = shown_image(ROW, encoded("PNG", exif=exif))
    assert suffix == "png"
    shown = Image.open(io.BytesIO(content))
    assert 0x0112 not in shown.getexif()
    assert (np.asarray(shown) == PIXELS).all()


@pytest.mark.parametrize("content", [b"", b"no image", encoded("JPEG")[:300]])
def test_an_image_that_cannot_be_read_is_named(content):
    with pytest.raises(StorageError, match="000000000001 can't be shown"):
        shown_image(ROW, content)


def test_an_image_of_another_size_than_its_mask_is_refused():
    with pytest.raises(StorageError, match="can't be shown"):
        shown_image({**ROW, "width": 13}, encoded("JPEG"))


def test_a_variance_map_that_is_none_is_named():
    with pytest.raises(StorageError, match="variance map of 000000000001"):
        shown_variance("000000000001", b"no map")
