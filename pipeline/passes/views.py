"""Other views of an image that show the same object, and the part of an image's map that a view's map answers to. Pure.

Whoever looks for the main object should find it in the mirror, from farther and nearer, and in another light.
Source: test-time augmentation as a measure of uncertainty, Wang et al. 2019, doi:10.1016/j.neucom.2019.01.103.
"""

import hashlib
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance

from pipeline.passes.options import View

_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
_LEAST_CHANGE, _MOST_CHANGE = 0.1, 0.3

Map = TypeVar("Map", bound=np.ndarray)


def seen(view: View, image: UInt8[np.ndarray, "h w 3"], key: str) -> UInt8[np.ndarray, "_h _w 3"]:
    """The image as a view shows it.

    Networks resize what they see to one size, so an image within a wide margin is smaller to them, and its middle is
    larger. Processing the image itself at another size is no view: the embedded model's masks at 144 and 240 px instead
    of 192 had an IoU of 0.5 and 0.4 with its own, whatever the image.
    """
    if view == "mirror":
        return np.ascontiguousarray(image[:, ::-1])
    if view == "smaller":
        rows, columns = _margins(image.shape[:2], 6)
        return np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="edge")
    if view == "larger":
        return np.ascontiguousarray(part_in_view(view, image))
    return _in_other_colours(image, key)


def turned_back(view: View, found: Map, height_width: tuple[int, int]) -> Map:
    """A view's map in the frame of the image: all of the image, or of its part in view."""
    if view == "mirror":
        return found[:, ::-1]  # type: ignore[return-value]
    if view == "smaller":
        rows, columns = _margins(height_width, 6)
        return found[rows : rows + height_width[0], columns : columns + height_width[1]]  # type: ignore[return-value]
    return found


def part_in_view(view: View, of_image: Map) -> Map:
    """The part of an image, or of its map, that the view shows: the middle 4/5 of each side if it is larger."""
    if view != "larger":
        return of_image
    height, width = of_image.shape[:2]
    rows, columns = _margins((height, width), 10)
    return of_image[rows : height - rows, columns : width - columns]  # type: ignore[return-value]


def colour_changes(key: str) -> tuple[float, float, float]:
    """Factors of brightness, contrast and saturation for an image: 1 ± 0.1 to 0.3, whatever else is scored.

    SHA-256 of `colours/KEY` gives eight bytes to each: the lowest bit of that number is the sign (0 is less), and the
    number itself, as a share of 2^64, the way from 0.1 to 0.3.
    """
    digest = hashlib.sha256(f"colours/{key}".encode()).digest()
    numbers = [int.from_bytes(digest[first : first + 8], "big") for first in (0, 8, 16)]
    changes = [_LEAST_CHANGE + (_MOST_CHANGE - _LEAST_CHANGE) * number / 2**64 for number in numbers]
    brightness, contrast, saturation = (
        1 + change if number % 2 else 1 - change for number, change in zip(numbers, changes, strict=True)
    )
    return brightness, contrast, saturation


def _margins(height_width: tuple[int, int], share: int) -> tuple[int, int]:
    """Rows and columns of a margin on each side: this fraction of the image's height and width, rounded down."""
    return height_width[0] // share, height_width[1] // share


def _in_other_colours(image: UInt8[np.ndarray, "h w 3"], key: str) -> UInt8[np.ndarray, "h w 3"]:
    """Brightness, then contrast around the mean grey, then saturation, as Pillow defines them."""
    changed = Image.fromarray(image)
    for enhancer, factor in zip(_ENHANCERS, colour_changes(key), strict=True):
        changed = enhancer(changed).enhance(factor)
    return np.asarray(changed)
