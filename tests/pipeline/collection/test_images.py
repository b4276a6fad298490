"""Properties, examples and faults of decoding one image; reading its bytes is in test_images_reading."""

import errno
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from pipeline.collection.images import MAX_IMAGE_PIXELS, decode, decode_rgb
from pipeline.errors import SampleError
from pipeline.files.orientation import orientation as orientation_in
from pipeline.records import Sample

WIDTH, HEIGHT = 13, 9
PIXELS = (np.arange(HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3) * 7 % 256).astype(np.uint8)


def make_sample(**overrides):
    fields = {"key": "000000000042", "image_id": 42, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}
    return Sample(**{**fields, "license_id": 0, "location": None, **overrides})


def encoded(pixels=PIXELS, image_format="PNG", mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, image_format, **options)
    return file.getvalue()


def error_of(call, *args, **named):
    with pytest.raises(SampleError) as caught:
        call(*args, **named)
    return caught.value


def raising(error):
    def cat_file(*args, **named):
        raise error

    return cat_file


ENCODED = [
    *(encoded(mode=mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *(encoded(image_format="JPEG", mode=mode) for mode in ("L", "RGB", "CMYK")),
    encoded(image_format="JPEG", progressive=True),
    *(encoded(image_format=image_format) for image_format in ("GIF", "WEBP", "BMP", "TIFF")),
]


# Properties


@settings(max_examples=4 * settings().max_examples, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"])
)
def test_any_bytes_are_an_image_of_the_annotated_size_or_a_sample_error(content, magic):
    decodes_or_fails(magic + content)


@settings(max_examples=4 * settings().max_examples, deadline=None)
@given(st.data())
def test_a_changed_image_is_an_image_of_the_annotated_size_or_a_sample_error(data):
    content = bytearray(data.draw(st.sampled_from(ENCODED)))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=5)):
        content[at] = value
    length = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    decodes_or_fails(bytes(content[:length]))


def decodes_or_fails(content):
    try:
        pixels = decode(make_sample(), content, max_pixels=10_000)
    except SampleError as refused:
        reason, detail = refused.reason, refused.detail
    else:
        reason = detail = ""
        assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert reason in {"", "undecodable", "size_mismatch", "too_many_pixels", "too_slow", "too_large"}
    assert " at 0x" not in detail, "an address differs from run to run"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.sampled_from(["PNG", "BMP", "TIFF", "WEBP"]))
def test_a_lossless_image_decodes_to_exactly_its_pixels(width, height, seed, image_format):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = encoded(pixels, image_format, **({"lossless": True} if image_format == "WEBP" else {}))
    assert np.array_equal(decode(make_sample(width=width, height=height), content), pixels)


# Examples


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_content_decides_the_format_not_the_name(image_format):
    grey = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    pixels = decode(make_sample(file_name="a.jpg"), encoded(grey, image_format))
    assert np.abs(pixels.astype(int) - 120).max() <= 2


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_grey_images_have_three_equal_channels(image_format):
    pixels = decode(make_sample(), encoded(PIXELS[:, :, 0], image_format))
    assert (pixels == pixels[:, :, :1]).all()
    assert np.abs(pixels[:, :, 0].astype(int) - PIXELS[:, :, 0]).mean() < 10


def test_the_result_is_writable_and_contiguous():
    for content in ENCODED:
        flags = decode(make_sample(), content).flags
        assert (flags.writeable, flags.c_contiguous) == (True, True)


def test_a_cmyk_jpeg_keeps_its_colours():
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    pixels = decode(make_sample(), encoded(red, "JPEG", "CMYK"))
    assert np.abs(pixels.astype(int) - [250, 10, 10]).max() < 12


def test_a_palette_image_has_its_colours():
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[3] = [255, 0, 7]
    assert np.array_equal(decode(make_sample(), encoded(pixels, "PNG", "P", colors=4)), exact_palette(pixels))


def exact_palette(pixels):
    return np.array(Image.fromarray(pixels).convert("P").convert("RGB"))


def test_a_16_bit_grey_image_is_converted_to_8_bits():
    grey = np.full((HEIGHT, WIDTH), 0x12FF, np.uint16)
    grey[0], grey[1] = 0, 0xFFFF
    pixels = decode(make_sample(), encoded(grey))
    assert [row.tolist() for row in pixels[:3, 0]] == [[0] * 3, [255] * 3, [0x12] * 3]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white_and_opaque_ones_are_kept(mode):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[0] = 0
    image = np.concatenate([np.full((HEIGHT, WIDTH, 3), 40, np.uint8), alpha], axis=2)
    if mode == "P":
        index = Image.fromarray((alpha[:, :, 0] // 255) * 1, "L").convert("P")
        index.putpalette([9, 9, 9, 40, 40, 40])
        file = io.BytesIO()
        index.save(file, "PNG", transparency=0)
        content = file.getvalue()
    else:
        content = encoded(image, "PNG", mode)
    pixels = decode(make_sample(), content)
    assert (pixels[0] == 255).all()
    assert (pixels[1:] == 40).all()


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_used(image_format):
    first, second = (np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (200, 10))
    content = encoded(first, image_format, save_all=True, append_images=[Image.fromarray(second)])
    assert np.abs(decode(make_sample(), content).astype(int) - 200).max() <= 2


def exif_with(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_an_exif_orientation_is_not_applied():
    assert np.array_equal(decode(make_sample(), encoded(exif=exif_with(6))), PIXELS)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_found(image_format, orientation):
    assert orientation_in(encoded(image_format=image_format, exif=exif_with(orientation))) == orientation


def test_an_image_without_exif_is_not_turned():
    assert {orientation_in(content) for content in ENCODED} == {1}


@pytest.mark.parametrize("content", ENCODED)
def test_without_an_annotation_any_size_is_accepted_and_the_pixels_are_the_same(content):
    assert np.array_equal(decode_rgb("a.jpg", content), decode(make_sample(), content))


# Faults


def test_the_limit_on_pixels_is_inclusive():
    assert decode(make_sample(), encoded(), max_pixels=WIDTH * HEIGHT).shape == PIXELS.shape
    assert error_of(decode, make_sample(), encoded(), max_pixels=WIDTH * HEIGHT - 1).reason == "too_many_pixels"
    assert MAX_IMAGE_PIXELS == 89_000_000


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff", b"<svg/>"])
def test_anything_but_an_image_is_undecodable(content):
    error = error_of(decode, make_sample(), content)
    assert error.reason == "undecodable"
    assert error.detail.startswith("000000000042 ('a.jpg'): ")
    assert f"{len(content)} bytes that begin with {content[:12]!r}" in error.detail


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_truncated_image_is_undecodable(image_format):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(pixels, image_format)
    for part in (0.3, 0.6, 0.95):
        error = error_of(decode, make_sample(width=64, height=64), content[: int(len(content) * part)])
        assert error.reason == "undecodable"


def test_an_error_about_an_image_without_an_annotation_has_its_label():
    for content, limit in ((b"no image", 10_000), (encoded(), WIDTH * HEIGHT - 1)):
        error = error_of(decode_rgb, "holiday.jpg", content, max_pixels=limit)
        assert error.reason == ("undecodable" if content == b"no image" else "too_many_pixels")
        assert error.detail.startswith("holiday.jpg: ")


def test_other_formats_of_pillow_are_not_tried():
    for image_format in ("PPM", "ICO", "TGA", "PCX", "EPS"):
        assert error_of(decode, make_sample(), encoded(image_format=image_format)).reason == "undecodable"


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_fixed_range_are_undecodable(mode):
    error = error_of(decode, make_sample(), encoded(PIXELS[:, :, 0], "TIFF", mode))
    assert (error.reason, f"mode {mode}" in error.detail) == ("undecodable", True)


def test_another_size_than_annotated_is_reported_with_both_sizes():
    error = error_of(decode, make_sample(width=HEIGHT, height=WIDTH), encoded())
    assert error.reason == "size_mismatch"
    assert "13 x 9 px" in error.detail
    assert "9 x 13 px as annotated" in error.detail


def png_header(width, height):
    """A PNG that ends after saying how large it is."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + png_end()


def png_end():
    chunk = b"IDAT" + zlib.compress(b"")
    return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("width", [8_901, 9_500, 20_000, 60_000])
def test_too_many_pixels_are_refused_from_the_header_alone(width, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", raising(AssertionError("decoded")))
    error = error_of(decode, make_sample(width=width, height=10_000), png_header(width, 10_000))
    assert error.reason == "too_many_pixels"
    assert "the limit is 89000000 pixels" in error.detail


def test_pillows_warnings_are_silenced_whatever_the_filters_are():
    end = struct.pack(">I", 8) + b"acTL" + bytes(8)
    content = encoded()
    spoilt = content[:33] + end + struct.pack(">I", zlib.crc32(end[4:])) + content[33:]
    for action in ("error", "always"):
        with warnings.catch_warnings(record=True) as caught:
            decode(make_sample(), content)
            warnings.simplefilter(action)
            with Image.open(io.BytesIO(spoilt)) if action == "always" else io.BytesIO():
                assert len(caught) == (action == "always"), "Pillow warns of this image"
            assert np.array_equal(decode(make_sample(), spoilt), PIXELS)
            assert len(caught) == (action == "always")


def test_decoding_leaves_pillows_settings_unchanged():
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    for content in ENCODED:
        decode(make_sample(), content)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_a_machine_that_runs_out_of_file_handles_while_decoding_does_not_fail_the_image(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", raising(OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(OSError, match="Too many open files"):
        decode(make_sample(), encoded())


def test_an_image_for_which_memory_is_short_is_decoded_again_alone(monkeypatch):
    attempts = []
    load = ImageFile.ImageFile.load

    def load_at_second_attempt(image):
        attempts.append(image)
        if len(attempts) == 1:
            raise MemoryError
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load_at_second_attempt)
    assert np.array_equal(decode(make_sample(), encoded()), PIXELS)
    assert len({id(image) for image in attempts}) > 1


def test_an_image_for_which_memory_does_not_suffice_even_alone_is_too_large(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", raising(MemoryError()))
    error = error_of(decode, make_sample(), encoded())
    assert (error.reason, "even alone" in error.detail) == ("too_large", True)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("band_pixels", [1, WIDTH * 2, WIDTH * HEIGHT - 1])
def test_converting_in_bands_changes_no_pixel(mode, band_pixels, monkeypatch):
    content = encoded(PIXELS[:, :, 0].astype(np.uint16) << 8) if mode == "I;16" else encoded(mode=mode)
    whole = decode(make_sample(), content)
    monkeypatch.setattr("model.colours._BAND_PIXELS", band_pixels)
    assert np.array_equal(decode(make_sample(), content), whole)
