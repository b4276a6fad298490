"""What a file is by its first bytes, and the messages about images of formats that are not decoded."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.files.formats import SUPPORTED, WITH_CODEC, format_of
from pipeline.files.pictures import OPENED

PIXELS = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)


def saved(name, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, name, **options)
    return file.getvalue()


def message_of(content):
    with pytest.raises(SampleError) as caught:
        decode_rgb("7", content)
    assert caught.value.reason == "undecodable"
    return caught.value.detail


def ftyp(major, *compatible):
    brands = [major.encode(), bytes(4), *(brand.encode() for brand in compatible)]
    return (8 + 4 * len(brands)).to_bytes(4, "big") + b"ftyp" + b"".join(brands) + bytes(600)


@given(st.binary(max_size=600))
def test_any_bytes_have_a_name_or_none(content):
    assert isinstance(format_of(content), str)


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_supported_format_has_the_name_that_pillow_gives_it(name):
    assert format_of(saved(name)[:512]) == name


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (ftyp("heic", "mif1", "heic"), "HEIC"),
        (ftyp("mif1", "mif1", "heic"), "HEIC"),  # as newer phones write them
        (ftyp("mif1", "avif"), "AVIF"),
        (ftyp("avif", "mif1"), "AVIF"),
        (ftyp("avis", "msf1"), "AVIF"),
        (ftyp("mif1"), "HEIF"),
        (ftyp("crx ", "isom"), "Canon raw (CR3)"),
        (ftyp("isom", "mp42"), "video (MP4 or its relatives)"),
        (b"\xff\x0a" + bytes(600), "JPEG XL"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(600), "JPEG XL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made by hand -->\n<svg width='1'>", "SVG"),
        (b"8BPS\x00\x01" + bytes(600), "Photoshop (PSD)"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(600), "Canon raw (CR2)"),
        (b"  <!DOCTYPE html><html>403", "HTML page, no image: the server answered with a page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer, fetch the file with git lfs pull"),
        (b"\x00\x05\x16\x07\x00\x02", "AppleDouble, what macOS stores beside a file, no image"),
        (b"%PDF-1.7", "PDF"),
        (b'{"error": 1}', "JSON"),
        (b"", "empty file"),
        (bytes(600), "nothing but zeros"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_image_that_is_not_decoded_names_its_format_and_those_that_are(content, name):
    assert format_of(content[:512]) == name
    said = message_of(content)
    is_torn = WITH_CODEC.get(name) in OPENED
    assert (f"({name}); supported are JPEG, PNG, WEBP, GIF, BMP, TIFF" in said) != is_torn
    needs_codec = name in WITH_CODEC and not is_torn
    assert (f"To read {name}: pip install" in said) == needs_codec


@pytest.mark.parametrize(
    ("pillow", "name"),
    [
        ("PPM", "Netpbm (PPM, PGM, PBM, PAM or PFM)"),
        ("ICO", "Windows icon (ICO)"),
        ("DDS", "DirectDraw Surface (DDS)"),
        ("ICNS", "Apple icons (ICNS)"),
        ("PDF", "PDF"),
    ],
)
def test_formats_that_pillow_writes_are_named(pillow, name):
    assert f"({name}); supported are" in message_of(saved(pillow))


@pytest.mark.parametrize(("pillow", "name"), [("JPEG2000", "JPEG 2000"), ("AVIF", "AVIF")])
def test_formats_with_a_codec_are_named_too(pillow, name):
    if pillow not in OPENED:
        pytest.skip(f"this Pillow writes no {name}")
    assert format_of(saved(pillow)[:512]) == name


def test_bytes_of_no_known_format_are_called_so():
    assert "(an unknown format); supported are" in message_of(b"\x13\x37" * 300)


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_a_torn_image_of_a_supported_format_is_not_said_to_be_of_another(name):
    assert "supported are" not in message_of(saved(name)[:60])
