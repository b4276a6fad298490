"""Pixels of every file to 8 bits of sRGB: what only the file says, and 16 bits of which Pillow keeps 8.

The values that are stored mean what the file says, or what is evident, and not what the container could hold: 12 bits
in 16 are stretched, and a colour profile is applied (`model/colours.py` converts). 8-bit images without a profile, or
with one of sRGB, get the very pixels that Pillow's own conversion gives.
"""

import sys
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile

from model.colours import EVIDENT_BITS, Pixels, Transform, bits_of, converted, rgb_of, to_srgb_from
from model.icc import MOST_PROFILE_BYTES
from pipeline.files.scan import jpeg, png, tiff

_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""How 16 bits are stored → as whose high bytes Pillow gives the low ones."""


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
    is_deep = _is_deep_colour(image)
    declared_bits = _declared_bits(content) if image.mode.startswith("I;16") else 0
    found = rgb_of(image, profile_of(image, content), declared_bits)
    if is_deep and _highest(image) < 1 << (max(EVIDENT_BITS) - 8):
        to_srgb = to_srgb_from(profile_of(image, content), image.mode)
        return HighBytes(values=np.array(image), declared_bits=_declared_bits(content), to_srgb=to_srgb)
    return found


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
    return converted(Image.fromarray(shallow), 8, high.to_srgb, is_transparent=is_transparent)


def profile_of(image: Image.Image, content: bytes) -> bytes:
    """The colour profile of a file; empty if it has none.

    Args: image: what was opened, which lacks the profile of a JPEG or PNG.
    """
    if jpeg.is_jpeg(content):
        return jpeg.profile(content)
    if png.is_png(content):
        return png.profile(content, MOST_PROFILE_BYTES)
    return image.info.get("icc_profile") or b""


def changes_colours(profile: bytes, mode: str) -> bool:
    """Is a profile applied to pixels of that mode? Not if it is broken, of another colour space, or of sRGB."""
    return to_srgb_from(profile, mode) is not None


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
