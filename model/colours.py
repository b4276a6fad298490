"""Pixels of an opened image to 8 bits of sRGB: depth, colour profile and transparency.

Whoever opens images does it in this way, so a photo has the same pixels in a run and in the Python API.
"""

import io
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

from model import icc

EVIDENT_BITS = (8, 10, 12)
"""Depths that are evident if no pixel has a higher value. An image of 14 bits looks like a dark one of 16, with a
quarter of the light, and stays one."""

_BAND_PIXELS = 1 << 22
_SPACES = {"1": b"GRAY", "L": b"GRAY", "LA": b"GRAY", "I": b"GRAY", "CMYK": b"CMYK"}
"""Mode → the colour space that its profile must have; all other modes are made RGB."""
_SRGB_LEVELS = 2
"""A profile that moves no colour by more is taken for sRGB: rounding of its curves does."""

Pixels = UInt8[np.ndarray, "h w 3"]
Transform = Callable[[Image.Image], Image.Image]


def rgb_of(image: Image.Image, profile: bytes, declared_bits: int = 0) -> Pixels:
    """Decode an image's pixels to 8 bits of sRGB; transparent ones are put on white.

    Args:    image: opened; it may be decoded already.
             profile: its colour profile; empty if it has none.
             declared_bits: see `bits_of`.
    Returns: [H, W, 3]. Of 16-bit colour, Pillow gives the high bytes.
    Raises:  ValueError: its pixels have no fixed range.
    """
    if image.mode in ("I", "F"):
        raise ValueError(
            f"pixels of mode {image.mode} have no fixed range to convert to 8 bits; save it with 8 or 16 bits"
        )
    is_transparent = image.has_transparency_data  # some formats change what this is read from when they decode
    to_srgb = to_srgb_from(profile, image.mode)
    image.load()
    bits = 8
    if image.mode.startswith("I;16"):
        highest = max(int(np.asarray(band).max()) for _, band in _bands(image))
        bits = bits_of(highest, declared_bits)
    return converted(image, bits, to_srgb, is_transparent=is_transparent)


def bits_of(highest: int, declared: int) -> int:
    """How many bits the samples of an image use, at least 8.

    Args: highest: the highest value of a sample, at most 65,535.
          declared: as the file says; 0 if it does not say. It is believed if no sample has more bits: by its standard,
          a PNG has samples of fewer bits stretched to all 16.
    """
    if declared and not highest >> declared:
        return max(8, declared)
    return next((bits for bits in EVIDENT_BITS if not highest >> bits), 16)


def converted(image: Image.Image, bits: int, to_srgb: Transform | None, *, is_transparent: bool) -> Pixels:
    """Convert a decoded image; transparent pixels are put on white.

    Args: bits: how many of the 16 bits of a grey image are in use (`bits_of`); 8 for all other modes.
          to_srgb: see `to_srgb_from`.
    """
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, band in _bands(image):
        if band.mode.startswith("I;16"):
            # The highest 8 bits, as Pillow does for 16-bit colour.
            band = Image.fromarray((np.asarray(band) >> (bits - 8)).astype(np.uint8))
        pixels[top : top + band.height] = _rgb_of_band(band, to_srgb, is_transparent=is_transparent)
    return pixels


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Bands of rows from above, each with its first row: whole, an image would be in memory up to four times."""
    width, height = image.size
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        yield top, image if bottom - top == height else image.crop((0, top, width, bottom))


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


def to_srgb_from(profile: bytes, mode: str) -> Transform | None:
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
