"""Bits and colours: what is stored means what the file says, and plain 8-bit images stay as Pillow decodes them."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from model import colours, icc
from model.colours import bits_of
from pipeline.collection.colours import changes_colours
from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.files.scan import png
from tests.pipeline.files.make_images import (
    ADOBE_RGB,
    DISPLAY_P3,
    PIXELS,
    chunk,
    deep_png,
    encoded,
    icc_profile,
    ink_profile,
    segment,
    tiff_of,
)
from tests.pipeline.make import peak_bytes

HEIGHT, WIDTH = 6, 8
ADOBE = icc_profile(2.2, ADOBE_RGB)
SRGB_PRIMARIES = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WITH_PROFILE = ("JPEG", "PNG", "WEBP", "TIFF")


def deep_tiff(values, order="<", more=(), *, is_packed=False):
    """A TIFF of 16 bits from [H, W] or [H, W, 3] of uint16."""
    height, width, channels = (*values.shape, 1)[:3]
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if is_packed else data
    bits = {258: 16} if channels == 1 else {258: [16] * channels}
    tags = {
        256: width,
        257: height,
        **bits,
        259: 8 if is_packed else 1,
        262: 1 if channels == 1 else 2,
        273: 8,
        277: channels,
    }
    return tiff_of(tags | {278: height, 279: len(data), **dict(more)}, data, order)


def ramp(highest, channels=1):
    """Values of all levels up to the highest."""
    values = np.linspace(0, highest, HEIGHT * WIDTH * channels).round().astype(np.uint16)
    return values.reshape(HEIGHT, WIDTH, channels)


# Depth


@given(st.integers(0, 65535), st.sampled_from([0, 8, 10, 12, 14, 16]))
def test_the_depth_holds_every_value_and_what_is_declared_is_believed_if_it_can_be(highest, declared):
    bits = bits_of(highest, declared)
    assert 8 <= bits <= 16
    assert highest < 1 << bits
    if declared and highest < 1 << declared:
        assert bits == declared


@given(st.sampled_from([8, 10, 12, 16]), st.sampled_from([0, 2, 4, 6]), st.integers(0, 9))
def test_a_png_of_any_depth_uses_all_of_the_8_bits(bits, colour_type, seed):
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    values = np.random.default_rng(seed).integers(0, 1 << bits, (HEIGHT, WIDTH, channels)).astype(np.uint16)
    values[0, 0, 0] = (1 << bits) - 1
    if channels in (2, 4):
        values[:, :, -1] = 65535
    expected = np.broadcast_to(values[:, :, : 1 if channels < 3 else 3] >> (bits - 8), (HEIGHT, WIDTH, 3))
    assert np.array_equal(decode_rgb("x", deep_png(values, colour_type)), expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_tiff_of_any_depth_does_too(order, channels, bits):
    values = ramp((1 << bits) - 1, channels)
    expected = np.broadcast_to(values >> (bits - 8), (HEIGHT, WIDTH, 3))
    assert np.array_equal(decode_rgb("x", deep_tiff(values if channels == 3 else values[:, :, 0], order)), expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("channels", [1, 3])
def test_a_compressed_tiff_of_12_bits_is_not_black(order, channels):
    values = ramp(4095, channels)
    content = deep_tiff(values if channels == 3 else values[:, :, 0], order, is_packed=True)
    assert np.array_equal(decode_rgb("x", content), np.broadcast_to(values >> 4, (HEIGHT, WIDTH, 3)))


def test_a_tiff_that_has_12_bits_a_sample_says_so():
    values = ramp(900)[:, :, 0]
    bits = "".join(f"{value:012b}" for value in values.ravel())
    data = int(bits, 2).to_bytes(len(bits) // 8)
    tags = {256: WIDTH, 257: HEIGHT, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: HEIGHT, 279: len(data)}
    assert np.array_equal(decode_rgb("x", tiff_of(tags, data))[:, :, 0], values >> 4)


def test_opacity_of_16_bits_stays_beside_colours_of_12():
    values = ramp(4095, 4)
    values[:, :, 3] = 65535
    values[0, :, 3] = 0
    pixels = decode_rgb("x", deep_png(values, 6))
    assert (pixels[0] == 255).all()
    assert np.array_equal(pixels[1:], values[1:, :, :3] >> 4)


def test_opacity_of_12_bits_is_stretched_with_the_colours():
    values = ramp(4095, 4)
    values[:, :, 3] = 4095
    assert np.array_equal(decode_rgb("x", deep_png(values, 6)), values[:, :, :3] >> 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_dark_image_of_16_bits_stays_dark_if_it_declares_them_or_uses_14(channels):
    sbit = chunk(b"sBIT", b"\x10" * channels)
    values = ramp(4095, channels)
    declared = decode_rgb("x", deep_png(values, 0 if channels == 1 else 2, sbit))
    assert np.array_equal(declared, np.broadcast_to(values >> 8, (HEIGHT, WIDTH, 3)))
    values = ramp(16383, channels)
    seen = decode_rgb("x", deep_png(values, 0 if channels == 1 else 2))
    assert np.array_equal(seen, np.broadcast_to(values >> 8, (HEIGHT, WIDTH, 3)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_declared_depth_is_used_where_it_is_not_evident(channels):
    values = ramp(900, channels)
    content = deep_png(values, 0 if channels == 1 else 2, chunk(b"sBIT", b"\x0c" * channels))
    assert np.array_equal(decode_rgb("x", content), np.broadcast_to(values >> 4, (HEIGHT, WIDTH, 3)))
    content = deep_tiff(ramp(9000)[:, :, 0], more={281: 16383}.items())
    assert np.array_equal(decode_rgb("x", content)[:, :, :1], ramp(9000) >> 6)


def test_samples_stretched_to_16_bits_as_the_standard_of_png_asks_are_left_alone():
    values = ramp(4095, 3) << 4
    content = deep_png(values, 2, chunk(b"sBIT", b"\x0c\x0c\x0c"))
    assert np.array_equal(decode_rgb("x", content), values >> 8)


def test_a_black_image_stays_black():
    for colour_type, channels in ((0, 1), (2, 3)):
        assert not decode_rgb("x", deep_png(np.zeros((HEIGHT, WIDTH, channels)), colour_type)).any()


# Colours


@pytest.mark.parametrize("image_format", WITH_PROFILE)
def test_the_profile_of_a_file_is_applied(image_format):
    options = {"quality": 95} if image_format in ("JPEG", "WEBP") else {}
    content = encoded(image_format, icc_profile=ADOBE, **options)
    plain = decode_rgb("x", encoded(image_format, **options))
    to_srgb = ImageCms.buildTransform(
        io.BytesIO(ADOBE), ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    expected = np.asarray(to_srgb.apply(Image.fromarray(plain)))
    assert np.array_equal(decode_rgb("x", content), expected)
    assert not np.array_equal(expected, plain)


@pytest.mark.parametrize("image_format", WITH_PROFILE)
@pytest.mark.parametrize("profile", [SRGB, SRGB[:200], b"no profile", icc_profile(2.2, ADOBE_RGB, space=b"CMYK")])
def test_with_srgb_or_no_usable_profile_the_pixels_are_those_without_any(image_format, profile):
    with_it, without = encoded(image_format, icc_profile=profile), encoded(image_format)
    assert np.array_equal(decode_rgb("x", with_it), decode_rgb("x", without))


def test_a_curve_that_is_not_quite_that_of_srgb_is_applied():
    grey = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    found = decode_rgb("x", encoded("PNG", grey, icc_profile=icc_profile(2.0, SRGB_PRIMARIES)))
    assert 3 < found[0, 0, 0] - 60 < 20


@pytest.mark.parametrize(("name", "profile"), [("Adobe RGB", ADOBE), ("Display P3", icc_profile(2.2, DISPLAY_P3))])
def test_a_red_of_a_wide_colour_space_is_stronger_in_srgb(name, profile):
    red = np.full((HEIGHT, WIDTH, 3), (200, 50, 50), np.uint8)
    found = decode_rgb(name, encoded("PNG", red, icc_profile=profile))[0, 0].astype(int)
    assert found[0] > 210
    assert max(found[1:]) < 50
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    assert np.abs(decode_rgb(name, encoded("PNG", grey, icc_profile=profile)).astype(int) - 128).max() <= 2


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "L", "1"])
def test_modes_other_than_rgb_keep_their_transparency_and_get_their_colours(mode):
    image = Image.fromarray(PIXELS).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(PIXELS[:, :, 0]))
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=ADOBE)
    managed = decode_rgb("x", file.getvalue())
    file = io.BytesIO()
    image.save(file, "PNG")
    assert np.array_equal(managed, decode_rgb("x", file.getvalue())) == (mode in ("LA", "L", "1"))  # another space
    assert managed.shape == PIXELS.shape


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_grey_of_a_printing_press_becomes_grey_of_a_screen(mode):
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + b"\0\0"  # an exponent of 1: linear
    profile = icc_profile(1, (), space=b"GRAY", tags={b"kTRC": curve})
    grey = np.full((HEIGHT, WIDTH), 128, np.uint8) if mode == "L" else np.full((HEIGHT, WIDTH), 128 << 8, np.uint16)
    assert (np.abs(decode_rgb("x", encoded("PNG", grey, icc_profile=profile)).astype(int) - 188) <= 1).all()


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_inks_go_by_their_profile_and_without_one_by_the_rule_of_thumb(image_format):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, :, 0] = 255
    image = Image.fromarray(inks, "CMYK")
    found = {}
    for name, options in (("none", {}), ("own", {"icc_profile": ink_profile()})):
        file = io.BytesIO()
        image.save(file, image_format, **options)
        found[name] = decode_rgb("x", file.getvalue())[8, 8].tolist()
    assert found["none"][0] < 5
    assert found["none"][1] > 250
    assert max(found["own"]) - min(found["own"]) <= 3
    assert 170 < found["own"][0] < 200


def test_the_darkest_ink_becomes_black():
    inks = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    inks[:, :, 3] = 255
    file = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(file, "TIFF", icc_profile=ink_profile(darkest=15))
    assert decode_rgb("x", file.getvalue()).max() <= 2


def test_lab_becomes_srgb():
    lab = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    lab[:, :, 0] = 136  # half as light as white, without a colour
    lab[0, :, 1:] = 80, 67  # red
    file = io.BytesIO()
    Image.fromarray(lab, "LAB").save(file, "TIFF")
    pixels = decode_rgb("x", file.getvalue()).astype(int)
    assert np.abs(pixels[1:] - 127).max() <= 2
    assert pixels[0, 0, 0] > 230
    assert max(pixels[0, 0, 1:]) < 30


@pytest.mark.parametrize("band_pixels", [1, WIDTH * 2])
def test_bands_change_no_colour(band_pixels, monkeypatch):
    contents = [encoded("PNG", icc_profile=ADOBE), deep_png(ramp(4095, 3), 2), deep_png(ramp(4095), 0)]
    whole = [decode_rgb("x", content) for content in contents]
    monkeypatch.setattr(colours, "_BAND_PIXELS", band_pixels)
    assert all(np.array_equal(decode_rgb("x", content), found) for content, found in zip(contents, whole, strict=True))


# Faults


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(st.sampled_from([ADOBE, ink_profile(), SRGB]), st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=4))))
def test_a_damaged_profile_is_applied_or_ignored(profile, damages):
    content = bytearray(profile)
    for at, piece in damages:
        content[at : at + len(piece)] = piece
    for mode in ("RGB", "CMYK", "L"):
        assert changes_colours(bytes(content), mode) in (True, False)


def claiming(kind, inputs, points):
    """A profile of inks whose table claims to have many more entries than bytes."""
    if kind == b"mAB ":
        table = kind + bytes(4) + bytes([inputs, 3, 0, 0]) + struct.pack(">5I", 0, 0, 0, 32, 0)
        table += bytes([points] * inputs).ljust(16, b"\0") + b"\x02\0\0\0" + bytes(200)
    else:
        table = kind + bytes(4) + bytes([inputs, 3, points, 0]) + bytes(300)
    return icc_profile(1, (), space=b"CMYK", device=b"prtr", tags={b"A2B0": table})


@pytest.mark.parametrize(
    ("profile", "space"),
    [
        (claiming(b"mft1", 4, 255), b"CMYK"),
        (claiming(b"mft2", 4, 33), b"CMYK"),
        (claiming(b"mft2", 15, 255), b"CMYK"),
        (claiming(b"mAB ", 4, 255), b"CMYK"),
        (claiming(b"mpet", 4, 9), b"CMYK"),
        (icc_profile(2.2, ADOBE_RGB, device=b"link"), b"RGB "),
        (icc_profile(2.2, ADOBE_RGB, device=b"abst"), b"RGB "),
        (icc_profile(2.2, ADOBE_RGB, device=b"nmcl"), b"RGB "),
        (icc_profile(1, (), tags={b"D2B0": b"mpet" + bytes(40)}), b"RGB "),
        (icc_profile(1, (), tags={f"x{n:03d}".encode(): b"" for n in range(icc.MOST_TAGS)}), b"RGB "),
        (ADOBE + bytes(icc.MOST_PROFILE_BYTES), b"RGB "),
        (ADOBE, b"CMYK"),
    ],
)
def test_a_profile_of_another_kind_or_with_a_table_larger_than_itself_never_reaches_the_library(profile, space):
    assert not icc.is_plain(profile, space)


def test_profiles_that_are_let_through_are_the_usual_ones():
    assert icc.is_plain(ADOBE, b"RGB ")
    assert icc.is_plain(SRGB, b"RGB ")
    assert icc.is_plain(ink_profile(), b"CMYK")


def test_a_profile_that_unpacks_to_far_more_than_the_limit_is_ignored():
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(64 << 20)))
    content = encoded("PNG")
    assert np.array_equal(decode_rgb("x", content[:33] + bomb + content[33:]), PIXELS)
    most = peak_bytes(lambda: png.profile(content[:33] + bomb + content[33:], icc.MOST_PROFILE_BYTES))
    assert most < 4 * icc.MOST_PROFILE_BYTES


def test_a_jpegs_profile_in_parts_is_put_together_and_one_with_a_part_missing_or_twice_is_ignored():
    half = len(ADOBE) // 2
    first, second = (
        segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 2]) + part)
        for number, part in ((1, ADOBE[:half]), (2, ADOBE[half:]))
    )
    jpeg = encoded("JPEG")
    with_both = decode_rgb("x", encoded("JPEG", icc_profile=ADOBE))
    plain = decode_rgb("x", jpeg)
    for parts, expected in (
        (first + second, with_both),
        (second + first, with_both),
        (first, plain),
        (first + first + second, plain),
        (segment(0xE2, b"ICC_PROFILE\0"), plain),
    ):
        assert np.array_equal(decode_rgb("x", jpeg[:2] + parts + jpeg[2:]), expected)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_range_say_what_to_do(mode):
    with pytest.raises(SampleError, match="save it with 8 or 16 bits"):
        decode_rgb("x", encoded("TIFF", PIXELS[:, :, 0], mode=mode))
