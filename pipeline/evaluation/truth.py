"""Read masks of every kind that datasets use: which pixels are salient."""

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from model.config import MAX_IMAGE_PIXELS
from pipeline.evaluation.contents import drawn
from pipeline.evaluation.grey import GreyLevels, decode_file, grey_levels, opaque
from pipeline.evaluation.sources import Runs, Source

HALF = 128
"""Levels of 0..255 above this are salient; 128 itself is not. As in pysodmetrics and the Matlab code before it."""


def read_truth(source: Source, max_pixels: int = MAX_IMAGE_PIXELS) -> Bool[np.ndarray, "h w"]:
    """Read a mask; True where the object is.

    - Grey of 8 or 16 bits, and colours by their luma: salient above half of the range. This treats grey edges of JPEGs
      and of averaged annotations (PASCAL-S) as the field does.
    - Only the values 0 and 1, in any mode: background and object.
    - A palette of greys counts as those greys. In a palette of colours (label maps), everything but black is salient.
    - Transparent pixels are background.
    - Run lengths say which pixels are salient.

    Args and errors are those of `decode_file`. Ambiguous masks are `undecodable`: a palette of colours without black,
    and 32-bit pixels.
    """
    return drawn(source) if isinstance(source, Runs) else decode_file(source, truth_of, max_pixels)


def truth_of(image: Image.Image) -> Bool[np.ndarray, "h w"]:
    """Read a mask from an open image, as `read_truth` does. Raises ValueError for an ambiguous mask."""
    if image.mode in ("P", "PA"):
        return _of_palette(image)
    return _above_half(grey_levels(image))


def grey_truth_of(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Read a mask's grey levels, 0 to 255, from an open image.

    As `read_truth`, but levels between background and object stay what they are. Raises ValueError likewise.
    """
    salient = truth_of(image)
    if image.mode in ("P", "PA"):
        colours = _palette_colours(image)
        levels = colours[:, :, 0] if _is_grey(colours) else salient
    else:
        levels = grey_levels(image)
    if levels.max() <= 1:
        return salient.astype(np.uint8) * np.uint8(255)
    return (levels >> 8 if levels.dtype == np.uint16 else levels).astype(np.uint8)


def _above_half(levels: GreyLevels) -> Bool[np.ndarray, "h w"]:
    if levels.max() <= 1:  # for 1-bit images too
        return levels.astype(np.bool_)
    above: Bool[np.ndarray, "h w"] = levels > (HALF * 257 if levels.dtype == np.uint16 else HALF)
    return above


def _of_palette(image: Image.Image) -> Bool[np.ndarray, "h w"]:
    colours = _palette_colours(image)
    if _is_grey(colours):
        return _above_half(colours[:, :, 0])
    salient = np.asarray(colours.any(axis=2))
    if salient.all():
        raise ValueError("a palette of colours without black: it is unknown which of them is the background")
    return salient


def _palette_colours(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    entries = len(image.getpalette() or []) // 3
    largest = int(np.asarray(image.getchannel(0)).max())
    if largest >= entries:
        raise ValueError(f"a pixel has index {largest} in a palette of {entries} colours")
    return np.asarray(opaque(image).convert("RGB"))


def _is_grey(colours: UInt8[np.ndarray, "h w 3"]) -> bool:
    return bool((colours == colours[:, :, :1]).all())
