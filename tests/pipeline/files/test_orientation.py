"""Orientations: found where readers find them, and taken out of a file without changing anything else."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.files.orientation import orientation, with_orientation_1
from tests.pipeline.files.make_images import PIXELS, chunk, encoded, exif_with, jpeg_with, png_with, segment

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d" xmp:Rating="6"/></x:xmpmeta>'
XMP_IN = {
    "JPEG": lambda xmp: jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)),
    "PNG": lambda xmp: png_with(before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
    "WEBP": lambda xmp: encoded("WEBP", xmp=xmp),
}


def seen_by_pillow(content):
    """The orientation that Pillow finds, and the pixels of a reader that obeys it and of one that does not."""
    with Image.open(io.BytesIO(content)) as image:
        found = image.getexif().get(0x0112, 1)
        return found, np.asarray(ImageOps.exif_transpose(image)), np.asarray(image)


# Properties


@given(st.sampled_from(FORMATS), st.integers(0, 255), st.booleans())
def test_what_pillow_obeys_is_found_and_taken_out(image_format, stated, is_big_endian):
    content = encoded(image_format, exif=exif_with(stated, ">" if is_big_endian else "<"))
    assert orientation(content) == (stated if 1 <= stated <= 8 else 1)
    neutral = with_orientation_1(content)
    found, obeying, other = seen_by_pillow(neutral)
    assert (orientation(neutral), found) == (1, 1)
    assert np.array_equal(obeying, other)
    assert other.shape == PIXELS.shape


@given(st.sampled_from(FORMATS), st.integers(2, 8))
def test_nothing_but_the_orientation_and_its_checksum_changes(image_format, stated):
    content = encoded(image_format, exif=exif_with(stated))
    neutral = with_orientation_1(content)
    changed = [place for place, (old, new) in enumerate(zip(content, neutral, strict=True)) if old != new]
    assert 1 <= len(changed) <= (5 if image_format == "PNG" else 1)
    assert with_orientation_1(neutral) == neutral


@given(st.sampled_from(FORMATS), st.binary(max_size=60), st.integers(0, 500))
def test_no_damage_makes_it_fail_or_changes_the_length(image_format, junk, at):
    content = bytearray(encoded(image_format, exif=exif_with(6)))
    content[at : at + len(junk)] = junk
    assert orientation(bytes(content)) in range(1, 9)
    assert len(with_orientation_1(bytes(content))) == len(content)


# Examples


@pytest.mark.parametrize("image_format", XMP_IN)
def test_the_orientation_in_xmp_counts_where_there_is_none_in_exif(image_format):
    content = XMP_IN[image_format](XMP % 8)
    assert (orientation(content), seen_by_pillow(content)[0]) == (8, 8)
    neutral = with_orientation_1(content)
    assert neutral == XMP_IN[image_format](XMP % 1)
    assert (orientation(neutral), seen_by_pillow(neutral)[0]) == (1, 1)


def test_exif_counts_more_than_xmp_wherever_it_stands():
    xmp, exif = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP % 8), segment(0xE1, exif_with(3))
    for both in (xmp + exif, exif + xmp):
        content = jpeg_with(both)
        assert (orientation(content), seen_by_pillow(content)[0]) == (3, 3)
        assert seen_by_pillow(with_orientation_1(content))[0] == 1


def test_a_tiff_is_not_turned_by_its_xmp_either():
    content = encoded("TIFF", tiffinfo={700: XMP % 6})
    assert orientation(content) == 6
    assert seen_by_pillow(with_orientation_1(content))[2].shape == PIXELS.shape


@pytest.mark.parametrize("image_format", FORMATS)
def test_an_image_without_an_orientation_stays_as_it_is(image_format):
    content = encoded(image_format)
    assert (orientation(content), with_orientation_1(content)) == (1, content)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("stated", [3, 6])
def test_opencv_which_obeys_exif_sees_the_stored_pixels_then(image_format, stated):
    cv2 = pytest.importorskip("cv2")
    options = {"lossless": True} if image_format == "WEBP" else {}
    plain = encoded(image_format, **options)
    neutral = with_orientation_1(encoded(image_format, exif=exif_with(stated), **options))
    seen = [cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) for content in (neutral, plain)]
    assert np.array_equal(*seen)
