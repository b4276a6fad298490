"""What decoders see of a file, and what they are not asked: properties, examples of every format, faults."""

import io
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.files.formats import SUPPORTED
from pipeline.files.orientation import orientation
from pipeline.files.scan import bmp, gif, jpeg, limits, png, tiff, webp
from pipeline.files.scan.limits import OverBudgetError
from tests.pipeline.files.make_images import (
    GREY_STRIP,
    HEIGHT,
    PIXELS,
    WIDTH,
    bmp_rle,
    chunk,
    encoded,
    gif_comment,
    gif_with,
    jpeg_with,
    jpeg_with_scans,
    png_with,
    segment,
    tiff_of,
    webp_with,
)

METADATA_MARKERS = [*range(0xE1, 0xEE), 0xEF, 0xFE]
SHORT = st.binary(max_size=30)


def refusal(prepared, content):
    with pytest.raises(OverBudgetError) as caught:
        prepared(content)
    return caught.value


def strip_of(pixels=PIXELS[:, :, 0]):
    return pixels.tobytes()


@pytest.fixture
def few_parts(monkeypatch):
    monkeypatch.setattr(limits, "MOST_PARTS", 60)
    return 60


# Properties


@given(st.lists(st.tuples(st.sampled_from(METADATA_MARKERS), SHORT, st.integers(0, 5)), max_size=8))
@example([(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0", 0)])
def test_metadata_and_fill_bytes_of_a_jpeg_do_not_reach_the_decoder(segments):
    inserted = b"".join(b"\xff" * fill + segment(marker, content) for marker, content, fill in segments)
    assert jpeg.prepared(jpeg_with(inserted)) == jpeg.prepared(encoded("JPEG"))
    assert np.array_equal(decode_rgb("x", jpeg_with(inserted)), decode_rgb("x", encoded("JPEG")))


CHUNK_NAMES = st.sampled_from(
    [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"prIv"]
)
CHUNKS = st.lists(st.builds(chunk, CHUNK_NAMES, SHORT), max_size=6).map(b"".join)


@given(CHUNKS, CHUNKS, st.integers(1, 400))
def test_chunks_that_decide_no_pixel_of_a_png_do_not_reach_the_decoder(before, after, idat_bytes):
    content = png_with(before, after, idat_bytes)
    assert png.prepared(content) == png_with(idat_bytes=idat_bytes)
    assert np.array_equal(decode_rgb("x", content), PIXELS)


BLOCKS = st.lists(
    st.one_of(
        st.just(b"\0"),
        st.integers(0, 9).map(gif_comment),
        st.just(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"),
    ),
    max_size=6,
).map(b"".join)


@given(BLOCKS)
def test_comments_and_junk_before_the_first_frame_of_a_gif_do_not_reach_the_decoder(blocks):
    assert gif.prepared(gif_with(blocks)) == gif.prepared(gif_with(b""))
    assert np.array_equal(decode_rgb("x", gif_with(blocks)), decode_rgb("x", gif_with(b"")))


SCANS = [bmp.prepared, gif.prepared, jpeg.prepared, png.prepared, tiff.prepared, webp.prepared]
WHOLE = {
    jpeg.prepared: [encoded("JPEG"), encoded("JPEG", progressive=True), jpeg_with_scans(3)],
    png.prepared: [png_with(chunk(b"tEXt", b"a\0b"), idat_bytes=100)],
    gif.prepared: [gif_with(gif_comment(3))],
    webp.prepared: [webp_with(b"EXIF\x02\0\0\0ab"), encoded("WEBP")],
    bmp.prepared: [encoded("BMP"), bmp_rle(4, 4, b"\x04\x01\0\0")],
    tiff.prepared: [
        encoded("TIFF"),
        encoded("TIFF", compression="jpeg"),
        tiff_of(GREY_STRIP, strip_of()),
        tiff_of({**GREY_STRIP, 34665: 8}, strip_of(), order=">"),
    ],
}


@pytest.mark.parametrize("prepared", SCANS, ids=lambda function: function.__module__.split(".")[-1])
@given(data=st.data())
@settings(deadline=None, max_examples=4 * settings().max_examples)
def test_whatever_the_bytes_a_scan_returns_bytes_or_refuses(prepared, data):
    content = bytearray(data.draw(st.sampled_from(WHOLE[prepared])))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        content = content or bytearray(b"\0")
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    with suppress(OverBudgetError):
        assert isinstance(prepared(bytes(content[:cut])), bytes)


# Examples


def reference(content):
    """What Pillow alone makes of the whole file."""
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))


ORDINARY = {
    "grey jpeg": encoded("JPEG", mode="L"),
    "cmyk jpeg": encoded("JPEG", mode="CMYK"),
    "jpeg with a profile, exif and a comment": encoded(
        "JPEG", icc_profile=bytes(200_000), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", comment=b"c" * 60_000
    ),
    "jpeg with restart markers": encoded("JPEG", restart_marker_blocks=1),
    "progressive jpeg": encoded("JPEG", progressive=True, quality=98, subsampling=0),
    "progressive cmyk jpeg": encoded("JPEG", mode="CMYK", progressive=True),
    "png": encoded("PNG"),
    "interlaced-like small chunks": png_with(idat_bytes=7),
    "palette png": encoded("PNG", mode="P"),
    "1-bit png": encoded("PNG", mode="1"),
    "gif": encoded("GIF"),
    "bmp": encoded("BMP"),
    "run-length bmp": bmp_rle(8, 2, b"\x08\x05\0\0\x04\x09\x04\x02\0\1"),
    "webp": encoded("WEBP"),
    "tiff": encoded("TIFF"),
    "deflated tiff": encoded("TIFF", compression="tiff_adobe_deflate"),
    "jpeg in tiff": encoded("TIFF", compression="jpeg"),
    "big tiff": encoded("TIFF", big_tiff=True),
    "tiff of one row per strip": tiff_of(
        {**GREY_STRIP, 273: [8 + WIDTH * row for row in range(HEIGHT)], 278: 1, 279: [WIDTH] * HEIGHT}, strip_of()
    ),
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_images_decode_to_the_pixels_that_pillow_gives(kind):
    assert np.array_equal(decode_rgb(kind, ORDINARY[kind]), reference(ORDINARY[kind]))


SAMPLE = sorted((Path(__file__).resolve().parents[3] / "pipeline/sample").rglob("*.[jp][pn]g"))


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_sample_decodes_to_the_pixels_that_pillow_gives(path):
    content = path.read_bytes()
    assert np.array_equal(decode_rgb(path.name, content), reference(content))


def test_a_large_progressive_photograph_decodes_to_the_pixels_that_pillow_gives():
    """As from a camera: megabytes of previews and profiles, and more pixels than a band has."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 3000, 1), dtype=np.uint8)
    content = encoded("JPEG", np.repeat(noise, 3, axis=2), progressive=True, quality=90)
    previews = b"".join(
        segment(marker, b"Exif\0\0" + bytes(65_000)) for marker in (0xE1, 0xE2, 0xED) for _ in range(20)
    )
    assert np.array_equal(decode_rgb("x", jpeg_with(previews, content)), reference(content))


def test_the_scans_that_encoders_write_are_few_enough_for_any_size():
    for content in (encoded("JPEG", progressive=True), encoded("JPEG", mode="CMYK", progressive=True)):
        assert 10 <= content.count(b"\xff\xda") <= jpeg.SCANS_OF_ANY_IMAGE


def test_the_colours_of_a_jpeg_keep_what_decides_them():
    """JFIF and Adobe segments say how colours are coded."""
    content = encoded("JPEG", mode="CMYK")
    assert b"Adobe" in jpeg.prepared(content)
    assert b"JFIF" in jpeg.prepared(encoded("JPEG"))


def test_a_transparent_png_stays_transparent():
    content = encoded("PNG", np.zeros((HEIGHT, WIDTH), np.uint8), mode="P", transparency=0)
    assert (decode_rgb("x", content) == 255).all()


def test_the_control_of_the_first_frame_of_a_gif_is_kept():
    file = io.BytesIO()
    image = Image.new("P", (WIDTH, HEIGHT), 1)
    image.putpalette([0, 0, 0, 40, 40, 40])
    image.save(file, "GIF", transparency=1, comment=b"hello")
    assert (decode_rgb("x", file.getvalue()) == 255).all()


def exif_with(tag, value):
    exif = Image.Exif()
    exif[tag] = value
    return exif


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_is_found_without_the_rest_of_the_metadata(image_format):
    assert orientation(encoded(image_format, exif=exif_with(0x0112, 6))) == 6
    assert orientation(encoded(image_format, exif=exif_with(0x010F, "maker"))) == 1


def test_the_orientation_in_xmp_is_found():
    for text in (b'<x tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>"):
        assert orientation(jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text))) != 1


@pytest.mark.parametrize(
    ("content", "size_px"),
    [
        (encoded("WEBP"), (WIDTH, HEIGHT)),
        (encoded("WEBP", lossless=True), (WIDTH, HEIGHT)),
        (webp_with(b""), (WIDTH, HEIGHT)),
        (encoded("WEBP")[:20], None),
    ],
)
def test_the_canvas_of_a_webp_is_known_before_it_is_opened(content, size_px):
    assert webp.size_px(content) == size_px


# Faults: what would take a decoder too long or too much, in small


PARTS = {
    "segments": (jpeg.prepared, lambda count: jpeg_with(segment(0xFE) * count)),
    "tables": (jpeg.prepared, lambda count: jpeg_with(segment(0xC4) * count)),
    "chunks of text": (png.prepared, lambda count: png_with(chunk(b"tEXt", b"a\0b") * count)),
    "frames": (png.prepared, lambda count: png_with(after=chunk(b"fdAT", b"\0") * count)),
    "chunks of data": (png.prepared, lambda count: png_with(after=chunk(b"IDAT") * count)),
    "comments": (gif.prepared, lambda count: gif_with(gif_comment(0) * count)),
    "blocks of a comment": (gif.prepared, lambda count: gif_with(gif_comment(count))),
    "controls": (gif.prepared, lambda count: gif_with(b"!\xf9\x04\0\0\0\0\0" * count)),
    "chunks of a webp": (webp.prepared, lambda count: webp_with(b"XXXX\0\0\0\0" * count)),
    "strips": (tiff.prepared, lambda count: tiff_of({**GREY_STRIP, 273: [8] * count}, strip_of())),
    "tiles": (tiff.prepared, lambda count: tiff_of({**GREY_STRIP, 324: [8] * count}, strip_of())),
    "strips of a big tiff": (tiff.prepared, lambda count: tiff_of({273: [8] * count}, order=">", big=True)),
}


@pytest.mark.parametrize("kind", PARTS)
def test_too_many_parts_are_too_slow(kind, few_parts):
    prepared, make = PARTS[kind]
    assert refusal(prepared, make(few_parts + 1)).reason == "too_slow"
    prepared(make(few_parts // 3))  # the file has parts of its own, and a GIF counts an extension with its blocks


@pytest.mark.parametrize("kind", PARTS)
def test_an_image_of_too_many_parts_costs_its_own_row_and_its_orientation_is_not_searched(kind, few_parts):
    content = PARTS[kind][1](few_parts + 1)
    with pytest.raises(SampleError) as caught:
        decode_rgb("photo", content)
    assert (caught.value.reason, "photo: more than 60" in caught.value.detail) == ("too_slow", True)
    assert orientation(content) == 1


def test_scans_are_weighed_by_the_pixels_of_a_jpeg(monkeypatch):
    content = jpeg_with_scans(40)
    assert jpeg.prepared(content) == content, "many scans of a small image are no trouble"
    monkeypatch.setattr(jpeg, "MOST_SCANNED_SAMPLES", 16 * 16 * 40)
    error = refusal(jpeg.prepared, content)
    assert (error.reason, "scans of 256 pixels" in error.found) == ("too_slow", True)
    assert jpeg.prepared(jpeg_with_scans(10)) == jpeg_with_scans(10), "few scans are fine for any size"


def test_scans_behind_fill_bytes_and_restart_markers_are_counted(monkeypatch):
    monkeypatch.setattr(jpeg, "MOST_SCANNED_SAMPLES", 16 * 16 * 40)
    content = jpeg_with_scans(40)
    hidden = content.replace(b"\xff\xda", b"\xff\xd3\xff\xff\xff\xda")
    assert refusal(jpeg.prepared, hidden).reason == "too_slow"


def test_scans_of_what_follows_the_image_are_not_counted(monkeypatch):
    """Phones append further pictures to a JPEG."""
    monkeypatch.setattr(jpeg, "MOST_SCANNED_SAMPLES", 16 * 16 * 40)
    jpeg.prepared(encoded("JPEG") + jpeg_with_scans(40))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("fill", [1, 1023, 1024, 5000])
@pytest.mark.parametrize("has_end", [True, False])
def test_fill_bytes_in_scans_do_not_reach_the_decoder_in_long_runs(progressive, fill, has_end):
    """Megabytes of them took Pillow half a minute."""
    content = encoded("JPEG", progressive=progressive)
    scan = content.rfind(b"\xff\xda")
    filled = content[:scan] + b"\xff" * fill + content[scan:-2] + b"\xff" * fill + content[-2:] * has_end
    assert b"\xff" * 2000 not in jpeg.prepared(filled)
    if has_end:
        assert np.array_equal(decode_rgb("x", filled), decode_rgb("x", content))


def test_tables_between_scans_may_have_long_runs():
    content = encoded("JPEG", progressive=True)
    scan = content.rfind(b"\xff\xda")
    comment = segment(0xFE, b"\xff" * 5000)
    assert jpeg.prepared(content[:scan] + comment + content[scan:]) == content[:scan] + comment + content[scan:]


@pytest.mark.parametrize("image_format", SUPPORTED)
def test_what_follows_an_image_is_no_part_of_it(image_format, few_parts):
    """Downloads are padded, and phones append videos."""
    content = encoded(image_format, PIXELS[:, :, 0])
    for trailing in (bytes(8 * few_parts), chunk(b"tEXt") * few_parts, segment(0xFE) * few_parts, content * 3):
        assert np.array_equal(decode_rgb("x", content + trailing), decode_rgb("x", content))


def test_a_segment_that_ends_beyond_the_file_is_left_to_the_decoder():
    content = encoded("JPEG")[:2] + b"\xff\xdb\xff\xff" + encoded("JPEG")[2:]
    assert jpeg.prepared(content) == content


def test_a_damaged_chunk_of_a_png_is_left_to_the_decoder():
    wrong = chunk(b"tEXt", b"a\0b")[:-1] + b"\0"
    assert png.prepared(png_with(wrong)) == png_with(wrong)
    with pytest.raises(SampleError) as caught:
        decode_rgb("x", png_with(wrong))
    assert caught.value.reason == "undecodable"


@given(st.lists(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=4), min_size=1, max_size=8))
def test_lines_of_run_length_coding_that_end_early_are_counted_by_what_they_lack(lines):
    """A line is a list of runs, or of pixels as they are; both are cut at the line's end."""
    code, lacking = b"", 0
    for line in lines:
        for count, as_run in line:
            as_run = as_run or count < 3
            code += bytes([count, 7]) if as_run else bytes([0, count]) + b"\7" * (count + count % 2)
        lacking += 36 - sum(count for count, _ in line)
        code += b"\0\0"
    assert bmp._filled_up(bmp_rle(36, len(lines), code), 36, 36 * len(lines)) == lacking


def test_a_large_image_of_runs_is_decoded_and_one_whose_lines_end_early_is_too_slow():
    of_runs = bmp_rle(5100, 5000, (b"\xff\1" * 20 + b"\0\0") * 5000)
    assert bmp.prepared(of_runs) == of_runs
    found = refusal(bmp.prepared, bmp_rle(5000, 5000, b"\x01\0\0\0" * 5000))
    assert (found.reason, "25000000 pixels" in found.found) == ("too_slow", True)
    stepping = bmp_rle(5000, 5000, b"\0\2\x01\xff" * 20 + b"\0\0\0\1")
    assert bmp.prepared(stepping) == stepping


def test_run_length_coding_is_weighed_by_bytes_and_pixels(monkeypatch):
    content = bmp_rle(100, 90, b"\x01\0\0\0" * 90)
    assert bmp.prepared(content) == content
    monkeypatch.setattr(bmp, "MOST_RLE_STEPS", 99 * 90 + 2 * len(content))
    assert bmp.prepared(content) == content
    monkeypatch.setattr(bmp, "MOST_RLE_STEPS", 99 * 90 + 2 * len(content) - 1)
    assert refusal(bmp.prepared, content).reason == "too_slow"
    monkeypatch.setattr(bmp, "MOST_RLE_STEPS", 2 * len(content) - 1)
    assert refusal(bmp.prepared, content).reason == "too_slow"
    assert bmp.prepared(encoded("BMP")) == encoded("BMP"), "other BMPs are not decoded in Python"


def test_a_directory_of_too_many_entries_is_too_slow():
    tags = dict.fromkeys(range(1000, 1000 + tiff.MOST_ENTRIES + 1), 1)
    assert refusal(tiff.prepared, tiff_of(tags)).reason == "too_slow"
    for pointer in (34665, 34853, 40965):
        inner = tiff_of(tags)[8:]
        assert refusal(tiff.prepared, tiff_of({**GREY_STRIP, pointer: 8}, inner)).reason == "too_slow"


def test_a_directory_of_too_many_numbers_is_too_slow(monkeypatch):
    monkeypatch.setattr(tiff, "MOST_VALUES", 200)
    assert refusal(tiff.prepared, tiff_of({**GREY_STRIP, 50000: [1] * 200}, strip_of())).reason == "too_slow"


def test_a_directory_whose_entries_share_bytes_is_too_large(monkeypatch):
    monkeypatch.setattr(tiff, "MOST_VALUE_BYTES", 20_000)
    shared = struct.pack("<8s", b"") * 1000
    entries = b"".join(struct.pack("<HHII", tag, 7, len(shared), 8) for tag in (50001, 50002, 50003))
    content = b"II*\0" + struct.pack("<I", 8 + len(shared)) + shared + struct.pack("<H", 3) + entries + bytes(4)
    assert refusal(tiff.prepared, content).reason == "too_large"


def test_claims_beyond_the_file_are_left_to_the_decoder():
    entry = struct.pack("<HHII", 273, 4, 0xFFFFFFF0, 8)
    tiff.prepared(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + bytes(4))


def test_a_directory_that_points_at_itself_ends():
    content = bytearray(tiff_of({**GREY_STRIP, 34665: 8 + WIDTH * HEIGHT, 34853: 8 + WIDTH * HEIGHT}, strip_of()))
    content[-4:] = struct.pack("<I", 8 + WIDTH * HEIGHT)
    assert decode_rgb("x", bytes(content)).shape == (HEIGHT, WIDTH, 3)


def test_tiles_far_larger_than_the_image_are_too_large():
    tiled = {256: 64, 257: 48, 258: 8, 262: 1, 324: 8, 325: 4}
    assert refusal(tiff.prepared, tiff_of({**tiled, 322: 1 << 14, 323: 1 << 14})).reason == "too_large"
    tiff.prepared(tiff_of({**tiled, 322: 256, 323: 256}))


def test_the_scans_of_jpegs_in_a_tiff_are_weighed_by_their_pixels(monkeypatch):
    monkeypatch.setattr(tiff, "MOST_SCANNED_SAMPLES", 1)
    tags = {**GREY_STRIP, 259: 7}
    few, many = (tiff_of(tags, strip_of() + b"\xff\xda" * count) for count in (30, 40))
    tiff.prepared(few)
    assert refusal(tiff.prepared, many).reason == "too_slow"
