"""What people give as an image (a file, a Pillow image, an array) → 8 bits of sRGB, upright, and the image's name.

The pixels are those that a run gets of the same file: `colours.py` converts both. A run reads other people's files,
so `pipeline/files/pictures.py` also looks through each before it is decoded, and `pipeline/collection/images.py` tells
torn JPEGs and 16-bit colour of which only 10 or 12 bits are in use.
"""

import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

from model.colours import rgb_of
from model.config import MAX_IMAGE_PIXELS

with suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

Pixels = UInt8[np.ndarray, "h w 3"]
GIVEN_AS = "a path, a Pillow image, an array of uint8 with the shape (height, width, 3), or a list of them"
Image.init()  # makes Pillow look which formats it has
FORMATS = tuple(name for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF") if name in Image.OPEN)
"""Formats that are opened, by Pillow's names, if their codec is installed. Of others, some start programs."""
_UNNAMED = "image"


def as_list(given: Any) -> tuple[list[Any], bool]:
    """The images of a call, and whether they are several.

    Raises: as `as_iterable` does.
    """
    images, are_several = as_iterable(given)
    return list(images), are_several


def as_iterable(given: Any) -> tuple[Iterable[Any], bool]:
    """The same, but nothing is taken of an iterator; a list, tuple, iterator or array [N, H, W, 3] is several images.

    Raises: TypeError: it is a collection without an order, such as a dictionary.
    """
    if isinstance(given, dict | set | frozenset):
        raise TypeError(f"image is of type {type(given).__name__}; give {GIVEN_AS}")
    is_batch = isinstance(given, np.ndarray) and given.ndim == 4
    is_file = isinstance(given, io.IOBase)  # it iterates over lines
    if is_batch or (isinstance(given, list | tuple | Iterator) and not is_file):
        return given, True
    return [given], False


def require_images(images: Sequence[Any], first: int | None = None) -> None:
    """Refuse what is no image before any work begins; no file is decoded.

    Args:   first: place of the first one among all images of the call; None: these are all.
    Raises: TypeError, ValueError, OSError: the message names the image, what it is, and what to give instead.
    """
    for number, image in enumerate(images, first or 0):
        label = "image" if first is None and len(images) == 1 else f"images[{number}]"
        if isinstance(image, str | os.PathLike):
            _require_file(label, image)
        elif not isinstance(image, Image.Image):
            require_rgb(image, label)


def name_of(image: Any) -> str:
    """The name that decides an image's noise (`seeds.key_of`): of its file, without the suffix."""
    file = image if isinstance(image, str | os.PathLike) else getattr(image, "filename", "")
    return Path(os.fsdecode(file)).stem if file else _UNNAMED


def pixels_of(image: Any) -> Pixels:
    """An image's pixels, 0 to 255, turned upright by its EXIF orientation; transparent ones are put on white.

    They are a copy: the caller's array may change afterwards, as the frames of a camera do.

    Args:   image: one that `require_images` lets pass.
    Raises: ValueError: it can't be decoded, or has more than `MAX_IMAGE_PIXELS` pixels. OSError: it can't be read.
    """
    if isinstance(image, np.ndarray):
        return image.copy()
    if isinstance(image, Image.Image):
        return _upright(image)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about metadata and large images; the limit is checked here
            with Image.open(image, formats=FORMATS) as file:
                return _upright(file)
    except MemoryError:
        raise
    except Exception as error:  # Pillow has no error class for broken images; its own OSErrors have no errno
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(_undecodable(Path(image), error)) from error


def require_rgb(image: Any, label: str) -> None:
    """Refuse an image that is not an array of RGB with 8 bits: floats would be taken for values up to 255.

    Raises: TypeError: it is no array. ValueError: its values or its shape are others.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{label} is {_described(image)}; give {_instead_of(image)}")
    if image.dtype != np.uint8:
        raise ValueError(
            f"{label} has values of type {image.dtype}; it must be uint8, from 0 to 255: for values from 0 to 1, "
            "(255 * image).round().astype(numpy.uint8)"
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{label} has the shape {image.shape}; it must be (height, width, 3){_hint(image.shape)}")


def _require_file(label: str, image: str | os.PathLike[str]) -> None:
    path = Path(image)
    if "://" in str(image):
        raise ValueError(f"{label} is an address, {str(image)!r}; download it, and give the file")
    if path.is_dir():
        raise IsADirectoryError(f"{label} is a folder, {str(image)!r}; give its files: Path({str(image)!r}).glob('*')")
    if not path.exists():
        is_pattern = any(letter in str(image) for letter in "*?[")
        instead = f"give glob.glob({str(image)!r})" if is_pattern else f"the current folder is {Path.cwd()}"
        raise FileNotFoundError(f"{label}: there is no file {str(image)!r}; {instead}")


def _upright(image: Image.Image) -> Pixels:
    width, height = image.size
    if not 0 < width * height <= MAX_IMAGE_PIXELS:
        raise ValueError(f"the image has {width} x {height} px; it may have {MAX_IMAGE_PIXELS} pixels at most")
    profile = image.info.get("icc_profile") or b""
    pixels = rgb_of(image, profile)
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)  # Pillow turns TIFF when it decodes
    if orientation == 1:
        return pixels
    turned = Image.fromarray(pixels)
    turned.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(turned))


def _undecodable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    found = f"{path.stat().st_size} bytes that begin with {start!r}"
    return f"{path} can't be decoded: {str(error) or type(error).__name__}; it has {found}"


def _described(image: Any) -> str:
    if image is None:
        return "None"
    kind = type(image)
    package = kind.__module__.partition(".")[0]
    return f"of type {kind.__name__}" if package == "builtins" else f"a {package}.{kind.__name__}"


def _instead_of(image: Any) -> str:
    if isinstance(image, bytes | bytearray):
        return "Image.open(io.BytesIO(image)), with `from PIL import Image`"
    if isinstance(image, io.IOBase):
        return "Image.open(image), with `from PIL import Image`"
    if type(image).__module__.startswith("torch"):
        return (
            "an array: for values from 0 to 1 and the shape (3, height, width), "
            "(255 * image).round().byte().permute(1, 2, 0).cpu().numpy()"
        )
    return GIVEN_AS


def _hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return ": numpy.stack([image] * 3, axis=-1) makes colour of grey"
    if len(shape) == 3 and shape[2] == 1:
        return ": numpy.repeat(image, 3, axis=2) makes colour of grey"
    if len(shape) == 3 and shape[2] == 4:
        return ": give PIL.Image.fromarray(image), whose transparent pixels are put on white"
    if len(shape) == 3 and shape[0] == 3:
        return ": image.transpose(1, 2, 0) puts the channels last"
    return ""
