"""Read image files as grey levels, and saliency maps as 8 bits. `truth.py` reads masks."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, UInt8, UInt16
from PIL import Image

from model.config import MAX_IMAGE_PIXELS
from pipeline.collection.config import MAX_IMAGE_BYTES
from pipeline.evaluation.contents import content_of, drawn
from pipeline.evaluation.sources import InTar, Runs, Source, label_of
from pipeline.files.pictures import decoded

GreyLevels = UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"] | Bool[np.ndarray, "h w"]

_MOST_BYTES_PER_PIXEL = 8
"""Uncompressed images have up to four channels of 16 bits."""

Converted = TypeVar("Converted")


def read_prediction(
    source: Source, max_pixels: int = MAX_IMAGE_PIXELS, *, plain: bool = False
) -> UInt8[np.ndarray, "h w"]:
    """Read a saliency map as 8-bit grey: colours by luma, 16 bits by their high byte, transparent pixels as black.

    Run lengths give 0 and 255. Args and errors are those of `decode_file`, and:

    Args:   plain: refuse colours and transparency, as `plain_grey` does.
    """
    if isinstance(source, Runs):
        return drawn(source).astype(np.uint8) * np.uint8(255)
    return decode_file(source, plain_grey if plain else to_8_bits, max_pixels)


def plain_grey(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Convert an open image to grey levels in 0..255, if it has nothing else: a map in false colours has no levels.

    Raises: ValueError: a pixel has a colour or is transparent, or pixels are 32-bit integers or floats.
    """
    if image.mode == "1" or (image.mode == "L" and not image.has_transparency_data) or image.mode[0] in "IF":
        return to_8_bits(image)
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[:, :, 3] < 255).any():
        raise ValueError("it has transparent pixels; save maps as grey of one channel, 8 bits")
    if (pixels[:, :, :1] != pixels[:, :, :3]).any():
        raise ValueError("it has colours; save maps as grey of one channel, 8 bits, not as a picture of a colour map")
    return pixels[:, :, 0]


def to_8_bits(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Convert an open image to grey levels in 0..255; 1-bit images have 0 and 255."""
    levels = grey_levels(image)
    if levels.dtype == np.bool_:
        return levels.astype(np.uint8) * np.uint8(255)
    if levels.dtype == np.uint16:
        return (levels >> 8).astype(np.uint8)
    return levels.astype(np.uint8, copy=False)


def grey_levels(image: Image.Image) -> GreyLevels:
    """Convert an image to grey levels of its own depth: 1, 8 or 16 bits. Colours become their luma, as in OpenCV.

    Raises: ValueError: pixels are 32-bit integers or floats, whose range is unknown.
    """
    if image.mode == "1":
        return np.array(image)
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range; save it with 8 bits, 0 to 255")
    return np.array(opaque(image).convert("L"))


def opaque(image: Image.Image) -> Image.Image:
    """Lay a transparent image on black: invisible pixels are not salient."""
    if not image.has_transparency_data:
        return image
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), layered).convert("RGB")


def decode_file(
    source: Path | InTar, convert: Callable[[Image.Image], Converted], max_pixels: int = MAX_IMAGE_PIXELS
) -> Converted:
    """Open an image of a format that runs read, recognised by its content, and convert it.

    Args:   max_pixels: limit on height x width, checked before any pixel is decoded.
    Raises: SampleError: `unreadable`, `too_many_bytes`, and those of `pictures.decoded`; the message names file and
                         folder.
            OSError: the machine failed, not the file.
    """
    most_bytes = MAX_IMAGE_BYTES + _MOST_BYTES_PER_PIXEL * max_pixels
    return decoded(label_of(source), content_of(source, most_bytes), convert, max_pixels=max_pixels)
