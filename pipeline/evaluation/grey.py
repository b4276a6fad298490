"""Read image files as grey levels, and saliency maps as 8 bits. `truth.py` reads masks."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, UInt8, UInt16
from PIL import Image

from pipeline.collection.config import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from pipeline.errors import SampleError
from pipeline.files.pictures import decoded

GreyLevels = UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"] | Bool[np.ndarray, "h w"]

_FILE_IS_BAD = (FileNotFoundError, IsADirectoryError, PermissionError)
_MOST_BYTES_PER_PIXEL = 8
"""Uncompressed images have up to four channels of 16 bits."""

Converted = TypeVar("Converted")


def read_prediction(path: Path, max_pixels: int = MAX_IMAGE_PIXELS) -> UInt8[np.ndarray, "h w"]:
    """Read a saliency map as 8-bit grey: colours by luma, 16 bits by their high byte, transparent pixels as black.

    Args and errors are those of `decode_file`.
    """
    return decode_file(path, to_8_bits, max_pixels)


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
        raise ValueError(f"pixels of mode {image.mode} have no fixed range")
    return np.array(opaque(image).convert("L"))


def opaque(image: Image.Image) -> Image.Image:
    """Lay a transparent image on black: invisible pixels are not salient."""
    if not image.has_transparency_data:
        return image
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), layered).convert("RGB")


def decode_file(
    path: Path, convert: Callable[[Image.Image], Converted], max_pixels: int = MAX_IMAGE_PIXELS
) -> Converted:
    """Open an image file of a format that runs read, recognised by its content, and convert it.

    Args:   max_pixels: limit on height x width, checked before any pixel is decoded.
    Raises: SampleError: `unreadable`, `too_many_bytes`, and those of `pictures.decoded`; the message names file and
                         folder.
            OSError: the machine failed, not the file.
    """
    label = label_of(path)
    most_bytes = MAX_IMAGE_BYTES + _MOST_BYTES_PER_PIXEL * max_pixels
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except _FILE_IS_BAD as error:
        raise SampleError("unreadable", f"{label}: {error.strerror}") from error
    if len(content) > most_bytes:
        raise SampleError("too_many_bytes", f"{label}: the limit is {most_bytes} bytes for {max_pixels} pixels")
    return decoded(label, content, convert, max_pixels=max_pixels)


def label_of(path: Path) -> str:
    """Name a file with its folder: a map and its mask often have the same name."""
    return f"{path.parent.name}/{path.name}"
