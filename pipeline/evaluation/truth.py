"""Masks of every kind that datasets come with → what is salient and what is not."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pipeline.evaluation.grey import GreyLevels, decode_file, grey_levels, opaque

HALF = 128
"""Levels of 0..255 above this are salient, as in pysodmetrics and the Matlab code before it: 128 itself is not."""


def read_truth(path: Path) -> Bool[np.ndarray, "h w"]:
    """Read a mask; True where the object is.

    - Grey of 8 or 16 bits, and colours by their luma: above half of the range. So the grey edges of JPEGs and of
      averaged annotations (PASCAL-S) fall where the field lets them fall.
    - No other values than 0 and 1: they are background and object, of whatever mode.
    - A palette of greys: as those greys. A palette of colours (label maps): whatever is not black.
    - Transparent pixels are background.

    Raises: SampleError: `unreadable`, `too_many_pixels`, `undecodable`; a palette of colours without black, and 32-bit
                         pixels, whose meaning can't be told, are `undecodable`.
            OSError: the machine's fault, not the file's.
    """
    return decode_file(path, truth_of)


def truth_of(image: Image.Image) -> Bool[np.ndarray, "h w"]:
    """The same for an image that is open. Raises ValueError for what can't be told."""
    if image.mode in ("P", "PA"):
        return _of_palette(image)
    return _above_half(grey_levels(image))


def _above_half(levels: GreyLevels) -> Bool[np.ndarray, "h w"]:
    if levels.max() <= 1:  # for 1-bit images too
        return levels.astype(np.bool_)
    above: Bool[np.ndarray, "h w"] = levels > (HALF * 257 if levels.dtype == np.uint16 else HALF)
    return above


def _of_palette(image: Image.Image) -> Bool[np.ndarray, "h w"]:
    entries = len(image.getpalette() or []) // 3
    largest = int(np.asarray(image.getchannel(0)).max())
    if largest >= entries:
        raise ValueError(f"pixels of index {largest} in a palette of {entries} colours")
    colours = np.asarray(opaque(image).convert("RGB"))
    if (colours == colours[:, :, :1]).all():
        return _above_half(colours[:, :, 0])
    salient = np.asarray(colours.any(axis=2))
    if salient.all():
        raise ValueError("a palette of colours without black: which of them is the background is not told")
    return salient
