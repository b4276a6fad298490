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
    - One colour on black, however dark: the object.
    - A palette of greys counts as those greys. In a palette of colours (label maps), everything but black is salient.
    - Transparent pixels are background.
    - Run lengths say which pixels are salient.

    Args and errors are those of `decode_file`. Ambiguous masks are `undecodable`: a palette of colours without black,
    32-bit pixels, and what would be empty or wrong without a word: a mask that stands in its transparency, a cut-out
    photo, several dark colours, and a single level of grey that is not above half.
    """
    return drawn(source) if isinstance(source, Runs) else decode_file(source, truth_of, max_pixels)


def truth_of(image: Image.Image) -> Bool[np.ndarray, "h w"]:
    """Read a mask from an open image, as `read_truth` does. Raises ValueError for an ambiguous mask."""
    levels = _levels(image)
    return np.asarray(levels > _half(levels))


def grey_truth_of(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Read a mask's grey levels, 0 to 255, from an open image.

    As `read_truth`, but levels between background and object stay what they are. Raises ValueError likewise.
    """
    levels = _levels(image)
    return (levels >> 8 if levels.dtype == np.uint16 else levels).astype(np.uint8)


def _levels(image: Image.Image) -> GreyLevels:
    """Grey levels of which those above half are the object: 0 and 255 where the mask has none of its own."""
    if image.mode in ("P", "PA"):
        return _of_palette(image)
    _refuse_transparent(image)
    levels = grey_levels(image)
    if levels.dtype != np.bool_ and levels.max() > _half(levels):
        return levels
    if levels.dtype == np.uint8:
        colours = np.asarray(opaque(image).convert("RGB"))
        if not _is_grey(colours):
            return _of_dark_colours(colours)
    return _of_dark_greys(levels)


def _half(levels: GreyLevels) -> int:
    return HALF * 257 if levels.dtype == np.uint16 else HALF


def _of_dark_greys(levels: GreyLevels) -> GreyLevels:
    """Levels of which none is above half. Of three or more, they are those of averaged annotations."""
    if levels.max() <= 1:  # for 1-bit images too
        return levels.astype(np.uint8) * np.uint8(255)
    if len(np.unique(levels)) < 3:
        raise ValueError(
            f"its greatest level is {levels.max()}, which is not above half of {np.iinfo(levels.dtype).max}, so it "
            "would have no object: save the object as white"
        )
    return levels


def _of_dark_colours(colours: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    if not _has_one_colour_on_black(colours):
        raise ValueError(
            "all its colours are dark, so it is unknown which of them are the object: save it as grey, 0 and 255"
        )
    return _other_than_black(colours)


def _of_palette(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    colours = _palette_colours(image)
    if image.has_transparency_data and not colours.any():
        _refuse_transparent(image)
    if _is_grey(colours):
        levels = colours[:, :, 0]
        if levels.max() > HALF:
            return levels
        entries = np.array(image.getpalette(), np.uint8).reshape(1, -1, 3)
        if _is_grey(entries) or not _has_one_colour_on_black(colours):
            return _of_dark_greys(levels)
    salient = _other_than_black(colours)
    if salient.all():
        raise ValueError("a palette of colours without black: it is unknown which of them is the background")
    return salient


def _has_one_colour_on_black(colours: UInt8[np.ndarray, "h w 3"]) -> bool:
    found = Image.fromarray(colours).getcolors(2)
    return found is not None and len(found) == 2 and (0, 0, 0) in [colour for _, colour in found]


def _other_than_black(colours: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    return np.where(colours.any(axis=2), np.uint8(255), np.uint8(0))


def _refuse_transparent(image: Image.Image) -> None:
    """Refuse a mask with transparent pixels whose visible ones are anything but one colour, on black or alone.

    Raises: ValueError: it is one; the message says what to save.
    """
    if not image.has_transparency_data:
        return
    pixels = np.array(image.convert("RGBA"))
    colours, opacity = pixels[:, :, :3], pixels[:, :, 3]
    if opacity.min() == 255:
        return
    if not opacity.any():
        if colours.min() != colours.max():
            raise ValueError("all its pixels are transparent: save it as grey, 0 and 255, without transparency")
        return
    colours[opacity == 0] = 0
    if not colours.any():
        raise ValueError("it is black, and the mask seems to stand in its transparency: save it as grey, 0 and 255")
    found = Image.fromarray(colours).getcolors(2)
    if found is None or (len(found) == 2 and (0, 0, 0) not in [colour for _, colour in found]):
        raise ValueError(
            "it has transparent pixels and several colours, as a cut-out photo has: save its mask as grey, 0 and 255"
        )


def _palette_colours(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    entries = len(image.getpalette() or []) // 3
    largest = int(np.asarray(image.getchannel(0)).max())
    if largest >= entries:
        raise ValueError(f"a pixel has index {largest} in a palette of {entries} colours")
    return np.asarray(opaque(image).convert("RGB"))


def _is_grey(colours: UInt8[np.ndarray, "h w 3"]) -> bool:
    return bool((colours == colours[:, :, :1]).all())
