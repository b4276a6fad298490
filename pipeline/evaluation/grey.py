"""Read image files as grey levels, and saliency maps of any format as 8 bits. `truth.py` reads masks."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from jaxtyping import Bool, UInt8, UInt16
from PIL import Image

from pipeline.collection.config import MAX_IMAGE_PIXELS
from pipeline.errors import SampleError

GreyLevels = UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"] | Bool[np.ndarray, "h w"]

_FILE_IS_BAD = (FileNotFoundError, IsADirectoryError, PermissionError)
# Exceptions seen from Pillow for damaged and foreign files, among them `struct.error` and EOFError for cut headers.
_NO_IMAGE = (OSError, ValueError, SyntaxError, IndexError, TypeError, KeyError, EOFError, struct.error)

Converted = TypeVar("Converted")


def read_prediction(path: Path) -> UInt8[np.ndarray, "h w"]:
    """Read a saliency map as 8-bit grey: colours by luma, 16 bits by their high byte, transparent pixels as black.

    Raises: SampleError: `unreadable`, `too_many_pixels`, `undecodable`.
            OSError: the machine failed, not the file.
    """
    return decode_file(path, to_8_bits)


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


def decode_file(path: Path, convert: Callable[[Image.Image], Converted]) -> Converted:
    """Open an image file of any format, recognised by its content, and convert it.

    Raises: SampleError: `unreadable`, `too_many_pixels`, `undecodable`; the message names file and folder.
            OSError: the machine failed, not the file.
    """
    return decode_image(path, label_of(path), convert)


def decode_image(source: Path | BinaryIO, label: str, convert: Callable[[Image.Image], Converted]) -> Converted:
    """Convert an image as `decode_file` does, from a path or an open file; `label` names it in messages."""
    try:
        with Image.open(source) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                size = f"{image.width} x {image.height} px; the limit is {MAX_IMAGE_PIXELS} pixels"
                raise SampleError("too_many_pixels", f"{label}: {size}")
            return convert(image)
    except _FILE_IS_BAD as error:
        raise SampleError("unreadable", f"{label}: {error.strerror}") from error
    except Image.DecompressionBombError as error:
        raise SampleError("too_many_pixels", f"{label}: {error}") from error
    except _NO_IMAGE as error:
        # An OSError from the system has an errno; one about the image does not.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = str(error).replace(str(source), Path(label).name)
        raise SampleError("undecodable", f"{label}: {type(error).__name__}: {said}") from error


def label_of(path: Path) -> str:
    """Name a file with its folder: a map and its mask often have the same name."""
    return f"{path.parent.name}/{path.name}"
