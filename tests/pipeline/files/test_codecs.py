"""Formats of which a codec may be installed: sizes and parts are found before a decoder begins, and each goes alone."""

import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.collection.images import decode_framed, decode_rgb
from pipeline.errors import SampleError
from pipeline.files import pictures
from pipeline.files.formats import SUPPORTED, WITH_CODEC
from pipeline.files.in_flight import PixelBudget
from pipeline.files.pictures import OPENED, decoded
from pipeline.files.scan import jpeg2000, jpegxl
from pipeline.files.scan.boxes import boxes
from pipeline.files.scan.limits import OverBudgetError
from tests.pipeline.files.make_images import HEIGHT, PIXELS, WIDTH, encoded

BUILT_IN = [name for name in ("AVIF", "JPEG2000") if name in OPENED]
SIZE_AT = 8


def box(name, content, length=None):
    """A box; its length is told in 4 bytes, in 16 (1) or not at all (0)."""
    told = len(content) + 8 if length is None else length
    extended = struct.pack(">Q", len(content) + 16) if told == 1 else b""
    return struct.pack(">I", told) + name + extended + content


def jpegxl_of(width, height, ratio=0, small=False):
    """The beginning of a JPEG XL; with a ratio the width follows from the height."""

    def side(value):
        if small:
            return [(value // 8 - 1, 5)]
        kind = next(kind for kind, bits in enumerate((9, 13, 18, 30)) if value - 1 < 1 << bits)
        return [(kind, 2), (value - 1, (9, 13, 18, 30)[kind])]

    fields = [(int(small), 1), *side(height), (ratio, 3), *([] if ratio else side(width))]
    value = at = 0
    for field, bits in fields:
        value |= field << at
        at += bits
    return b"\xff\x0a" + value.to_bytes(12, "little")


def codestream(**changes):
    """A JPEG 2000 without a container, whose size header is changed."""
    content = bytearray(encoded("JPEG2000", no_jp2=True))
    names = ("right", "bottom", "left", "top", "tile_width", "tile_height", "tile_left", "tile_top", "components")
    fields = dict(zip(names, struct.unpack_from(">8IH", content, SIZE_AT), strict=True)) | changes
    struct.pack_into(">8IH", content, SIZE_AT, *fields.values())
    return bytes(content)


# Properties


@given(st.integers(1, 1 << 30), st.integers(1, 1 << 30))
def test_the_size_of_a_jpeg_xl_is_read_whatever_form_it_has(width, height):
    assert jpegxl.size_px(jpegxl_of(width, height)) == (width, height)
    contained = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    assert jpegxl.size_px(contained + box(b"jxlc", jpegxl_of(width, height))) == (width, height)
    parts = box(b"jxlp", b"\0\0\0\0" + jpegxl_of(width, height)) + box(b"jxlp", b"\x80\0\0\1rest")
    assert jpegxl.size_px(contained + parts) == (width, height)


@given(st.integers(1, 32), st.integers(1, 32))
def test_small_sizes_of_a_jpeg_xl_are_read_too(width, height):
    assert jpegxl.size_px(jpegxl_of(8 * width, 8 * height, small=True)) == (8 * width, 8 * height)


@given(st.binary(max_size=40), st.sampled_from([b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x4f\xff\x51"]))
def test_any_bytes_have_a_size_or_none(content, start):
    for kind in (jpegxl, jpeg2000):
        found = kind.size_px(start + content)
        assert found is None or all(side >= 0 for side in found)
    jpeg2000.prepared(start[:4] + content)


# Examples


@pytest.mark.parametrize(("ratio", "size"), [(1, (300, 300)), (3, (400, 300)), (4, (450, 300)), (5, (533, 300))])
def test_a_ratio_gives_the_width_of_a_jpeg_xl(ratio, size):
    assert jpegxl.size_px(jpegxl_of(0, 300, ratio)) == size


@pytest.mark.parametrize("length", [None, 0, 1])
def test_boxes_tell_their_length_in_three_ways(length):
    content = box(b"ftyp", b"avif") + box(b"mdat", b"last", length)
    assert [(name, content[start:end]) for name, start, end in boxes(content)] == [
        (b"ftyp", b"avif"),
        (b"mdat", b"last"),
    ]


@pytest.mark.parametrize("options", [{}, {"no_jp2": True}, {"tile_size": (16, 16)}, {"precinct_size": (64, 64)}])
def test_an_ordinary_jpeg_2000_is_decoded(options):
    content = encoded("JPEG2000", **options)
    assert jpeg2000.size_px(content) == (WIDTH, HEIGHT)
    assert jpeg2000.prepared(content) is content
    if "JPEG2000" in OPENED:
        assert np.array_equal(decode_rgb("x", content), PIXELS)


@pytest.mark.parametrize("image_format", BUILT_IN)
def test_only_one_image_of_such_a_format_is_decoded_at_a_time(image_format, monkeypatch):
    shared, barrier = PixelBudget(10**9), threading.Barrier(2)
    monkeypatch.setattr(pictures, "budget", lambda: shared)

    def met(image):
        try:
            barrier.wait(0.2)
        except threading.BrokenBarrierError:
            return False
        return True

    content = encoded(image_format)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: decoded("x", content, met, max_pixels=None), range(2))) == [False, False]


@pytest.mark.parametrize(("image_format", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")])
def test_a_plug_in_that_is_installed_is_used(image_format, module):
    pytest.importorskip(module)
    even = np.full((HEIGHT, WIDTH, 3), (200, 120, 40), np.uint8)
    pixels = decode_rgb("x", encoded(image_format, even))
    assert np.abs(pixels.astype(int) - even).max() < 8


def test_what_is_opened_is_what_runs_always_open_and_what_is_installed():
    assert OPENED[: len(SUPPORTED)] == SUPPORTED
    assert set(OPENED[len(SUPPORTED) :]) <= set(WITH_CODEC.values())


# Faults


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tile_width": 1, "tile_height": 1, "right": 4097, "bottom": 1}, "4097 tiles"),
        ({"tile_width": 0, "tile_height": 0, "right": 100_000}, "tiles of 3 components"),
        ({"components": 16384}, "16384 components"),
    ],
)
def test_a_jpeg_2000_of_too_many_parts_is_refused_before_it_is_opened(changes, found, monkeypatch):
    with pytest.raises(OverBudgetError, match=found):
        jpeg2000.prepared(codestream(**changes))
    if "JPEG2000" in OPENED:
        monkeypatch.setattr(Image, "open", None)
        with pytest.raises(SampleError, match="too_large"):
            decode_rgb("x", codestream(**changes))


def test_too_many_precincts_are_refused_in_any_header():
    small = encoded("JPEG2000", np.zeros((2000, 1000, 3), np.uint8), no_jp2=True, precinct_size=(64, 64))
    at = small.index(b"\xff\x52")
    segment = small[at : at + 2 + int.from_bytes(small[at + 2 : at + 4])]
    tiny = segment[:14] + bytes(len(segment) - 14)  # of one pixel each, in all resolutions
    assert jpeg2000.prepared(small) is small
    with pytest.raises(OverBudgetError, match=r"\d{7} precincts; the limit is 500000"):
        jpeg2000.prepared(small.replace(segment, tiny))
    tile_at = small.index(b"\xff\x90")
    with pytest.raises(OverBudgetError, match="precincts"):
        jpeg2000.prepared(small[: tile_at + 12] + tiny + small[tile_at + 12 :])


def test_the_size_that_the_decoder_goes_by_counts_whatever_the_container_says(monkeypatch):
    if "JPEG2000" not in OPENED:
        pytest.skip("this Pillow has no JPEG 2000")
    content = encoded("JPEG2000")
    at = content.index(b"\xff\x4f\xff\x51")
    larger = content[:at] + codestream(right=20_000, bottom=20_000, tile_width=20_000, tile_height=20_000)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(SampleError, match="20000 x 20000 px; the limit is 89000000 pixels"):
        decode_rgb("x", larger)


@pytest.mark.parametrize("image_format", BUILT_IN)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_torn_image_fails(image_format, share):
    content = encoded(image_format, np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    with pytest.raises(SampleError, match="undecodable"):
        decode_framed("x", content[: int(len(content) * share)], max_pixels=10_000, annotated_px=None, default="stored")
