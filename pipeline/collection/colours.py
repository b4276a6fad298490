"""Pixels of every mode to 8 bits of sRGB: depth, colour space and transparency.

The values that are stored mean what the file says, or what is evident, and not what the container could hold: 12 bits
in 16 are stretched, and a colour profile is applied. 8-bit images without a profile, or with one of sRGB, get the very
pixels that Pillow's own conversion gives.
"""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageFile

from pipeline.files.scan import icc, jpeg, png, tiff

EVIDENT_BITS = (8, 10, 12)
"""Depths that are evident if no pixel has a higher value. An image of 14 bits looks like a dark one of 16, with a
quarter of the light, and stays one."""

_BAND_PIXELS = 1 << 22
_SPACES = {"1": b"GRAY", "L": b"GRAY", "LA": b"GRAY", "I": b"GRAY", "CMYK": b"CMYK"}
"""Mode → the colour space that its profile must have; all other modes are made RGB."""
_SRGB_LEVELS = 2
"""A profile that moves no colour by more is taken for sRGB: rounding of its curves does."""
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""How 16 bits are stored → as whose high bytes Pillow gives the low ones."""

Pixels = UInt8[np.ndarray, "h w 3"]
Transform = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class HighBytes:
    """The high bytes of 16-bit colour that is black without its low bytes; `low_bytes` gives these."""

    values: UInt8[np.ndarray, "h w c"]
    declared_bits: int
    to_srgb: Transform | None


def to_rgb(image: Image.Image, content: bytes) -> Pixels | HighBytes:
    """Decode an image's pixels to 8 bits of sRGB; transparent ones are put on white.

    Args:    image: opened, not yet decoded. content: the file.
    Returns: [H, W, 3]; or high bytes, which `joined` makes pixels of.
    Raises:  ValueError: its pixels have no fixed range.
    """
    if image.mode in ("I", "F"):
        raise ValueError(
            f"pixels of mode {image.mode} have no fixed range to convert to 8 bits; save it with 8 or 16 bits"
        )
    is_transparent = image.has_transparency_data  # some formats change what this is read from when they decode
    is_deep = _is_deep_colour(image)
    to_srgb = _to_srgb(profile_of(image, content), image.mode)
    image.load()
    if is_deep and _highest(image) < 1 << (max(EVIDENT_BITS) - 8):
        return HighBytes(values=np.array(image), declared_bits=_declared_bits(content), to_srgb=to_srgb)
    if image.mode.startswith("I;16"):
        highest = max(int(np.asarray(band).max()) for _, band in _bands(image))
        bits = bits_of(highest, _declared_bits(content))
    else:
        bits = 8
    return _converted(image, bits, to_srgb, is_transparent=is_transparent)


def low_bytes(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    """Decode the low bytes of 16-bit colour, channel by channel like the high ones."""
    assert isinstance(image, ImageFile.ImageFile)
    is_grey = _rawmode(image.tile[0]) == "LA;16B"
    image.tile = [_with_low_bytes(tile) for tile in image.tile]
    low = np.array(image)
    return low[:, :, [1, 1, 1, 3]] if is_grey else low


def joined(high: HighBytes, low: UInt8[np.ndarray, "h w c"]) -> Pixels:
    """Make pixels of high and low bytes: the 8 bits below the highest one that the image uses."""
    values = high.values.astype(np.uint16) << 8 | low
    bits = bits_of(int(values[:, :, :3].max()), high.declared_bits)
    shallow = (values >> (bits - 8)).clip(0, 255).astype(np.uint8)
    is_transparent = values.shape[2] == 4
    if is_transparent and values[:, :, 3].max() >> bits:  # opacity uses all 16 bits
        shallow[:, :, 3] = high.values[:, :, 3]
    return _converted(Image.fromarray(shallow), 8, high.to_srgb, is_transparent=is_transparent)


def bits_of(highest: int, declared: int) -> int:
    """How many bits the samples of an image use, at least 8.

    Args: highest: the highest value of a sample, at most 65,535.
          declared: as the file says; 0 if it does not say. It is believed if no sample has more bits: by its standard,
          a PNG has samples of fewer bits stretched to all 16.
    """
    if declared and not highest >> declared:
        return max(8, declared)
    return next((bits for bits in EVIDENT_BITS if not highest >> bits), 16)


def profile_of(image: Image.Image, content: bytes) -> bytes:
    """The colour profile of a file; empty if it has none.

    Args: image: what was opened, which lacks the profile of a JPEG or PNG.
    """
    if jpeg.is_jpeg(content):
        return jpeg.profile(content)
    if png.is_png(content):
        return png.profile(content, icc.MOST_PROFILE_BYTES)
    return image.info.get("icc_profile") or b""


def changes_colours(profile: bytes, mode: str) -> bool:
    """Is a profile applied to pixels of that mode? Not if it is broken, of another colour space, or of sRGB."""
    return _to_srgb(profile, mode) is not None


def is_deep(content: bytes) -> bool:
    """Does a PNG or TIFF have more than 8 bits a channel?"""
    return (png.is_png(content) and png.bits(content) > 8) or (tiff.is_tiff(content) and tiff.sample_bits(content) > 8)


def _is_deep_colour(image: Image.Image) -> bool:
    """Would Pillow leave out the low bytes of 16-bit colour?"""
    tile = image.tile[0] if isinstance(image, ImageFile.ImageFile) and image.tile else None
    mode, _, stored = _rawmode(tile).partition(";") if tile else ("", "", "")
    return mode in ("RGB", "RGBA", "RGBX", "LA") and stored in _OTHER_BYTE


def _rawmode(tile: ImageFile._Tile) -> str:
    """How the pixels of a part of an image are stored; "" if its decoder has no such choice."""
    stored = tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args
    return stored if isinstance(stored, str) else ""


def _with_low_bytes(tile: ImageFile._Tile) -> ImageFile._Tile:
    mode, _, stored = _rawmode(tile).partition(";")
    # Grey with opacity is taken as four channels of a byte each, since nothing gives its low bytes.
    rawmode = "RGBA" if mode == "LA" else f"{mode};{_OTHER_BYTE[stored]}"
    return tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)


def _highest(image: Image.Image) -> int:
    """The highest value of all colours, without opacity."""
    extrema = cast("tuple[tuple[int, int], ...]", image.getextrema())
    return max(highest for _, highest in extrema[:3])


def _declared_bits(content: bytes) -> int:
    if png.is_png(content):
        return png.significant_bits(content)
    bits = tiff.sample_bits(content) if tiff.is_tiff(content) else 0
    return bits if bits < 16 else 0  # a TIFF has to state the size of the container


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Bands of rows from above, each with its first row: whole, an image would be in memory up to four times."""
    width, height = image.size
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        yield top, image if bottom - top == height else image.crop((0, top, width, bottom))


def _converted(image: Image.Image, bits: int, to_srgb: Transform | None, *, is_transparent: bool) -> Pixels:
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, band in _bands(image):
        if band.mode.startswith("I;16"):
            # The highest 8 bits, as Pillow does for 16-bit colour.
            band = Image.fromarray((np.asarray(band) >> (bits - 8)).astype(np.uint8))
        pixels[top : top + band.height] = _rgb_of_band(band, to_srgb, is_transparent=is_transparent)
    return pixels


def _rgb_of_band(band: Image.Image, to_srgb: Transform | None, *, is_transparent: bool) -> UInt8[np.ndarray, "..."]:
    if is_transparent:
        layer = band.convert("RGBA")
        if to_srgb is not None:
            opacity = layer.getchannel("A")
            layer = to_srgb(band).convert("RGBA")
            layer.putalpha(opacity)
        band = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    elif to_srgb is not None:
        band = to_srgb(band)
    return np.asarray(band if band.mode == "RGB" else band.convert("RGB"))


def _to_srgb(profile: bytes, mode: str) -> Transform | None:
    """What brings pixels of a mode to sRGB; None if Pillow's own conversion to RGB does."""
    if mode == "LAB":
        return _from_lab
    if not profile:
        return None
    space = _SPACES.get(mode.partition(";")[0], b"RGB ")
    transform = _transform(profile, space)
    if transform is None:
        return None
    own_mode = {b"GRAY": "L", b"CMYK": "CMYK", b"RGB ": "RGB"}[space]
    return lambda band: transform.apply(band if band.mode == own_mode else band.convert(own_mode))


def _from_lab(band: Image.Image) -> Image.Image:
    return _lab_transform().apply(band)


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return _built(ImageCms.createProfile("LAB"), "LAB")


def _built(source: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


@lru_cache(maxsize=8)
def _transform(profile: bytes, space: bytes) -> ImageCms.ImageCmsTransform | None:
    """From the colours of a profile to sRGB; None if it is broken, describes something else, or is sRGB itself."""
    if not icc.is_plain(profile, space):
        return None
    mode = {b"GRAY": "L", b"CMYK": "CMYK", b"RGB ": "RGB"}[space]
    try:
        transform = _built(ImageCms.ImageCmsProfile(io.BytesIO(profile)), mode)
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None
    return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    if mode == "L":
        samples = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    else:
        levels = np.arange(0, 256, 15, dtype=np.uint8)
        samples = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3))
    moved = np.asarray(transform.apply(samples)).astype(int) - np.asarray(samples.convert("RGB"))
    return bool(np.abs(moved).max() <= _SRGB_LEVELS)
