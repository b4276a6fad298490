"""The frame of an image: are its pixels taken as they are stored, or turned as its metadata asks viewers to?

Decided once, when the image is decoded; everything that is made from it later, up to a release, has the same frame.
"""

import numpy as np
from jaxtyping import UInt8

from pipeline.collection.config import Orientation
from pipeline.files.orientation import SWAPS
from pipeline.records import Frame


def default_frame(orientation: Orientation, *, annotated: bool) -> Frame:
    """The frame of images whose sizes do not tell it.

    Args: annotated: are there annotations? Most tools that make them count rows and columns as stored.
    """
    if orientation == "auto":
        return "stored" if annotated else "upright"
    return orientation


def frame_of(
    stored_px: tuple[int, int], exif_orientation: int, annotated_px: tuple[int, int] | None, default: Frame
) -> Frame:
    """Decide an image's frame.

    Args:    stored_px, annotated_px: width and height, as stored and as annotated (None: not annotated).
             exif_orientation: 1 to 8.
             default: for images whose annotated size fits both frames, or neither.
    Returns: `stored` for an image that is not to be turned, since both frames are the same then.
    """
    if exif_orientation == 1:
        return "stored"
    fits_stored, fits_upright = (
        annotated_px == size_in(frame, stored_px, exif_orientation) for frame in ("stored", "upright")
    )
    if fits_stored != fits_upright:
        return "stored" if fits_stored else "upright"
    return default


def size_in(frame: Frame, stored_px: tuple[int, int], exif_orientation: int) -> tuple[int, int]:
    """Width and height of an image in a frame."""
    width, height = stored_px
    return (height, width) if frame == "upright" and exif_orientation in SWAPS else (width, height)


def upright(pixels: UInt8[np.ndarray, "..."], exif_orientation: int) -> UInt8[np.ndarray, "..."]:
    """Turn or mirror stored pixels as the orientation asks viewers to.

    Args: pixels: [H, W] or [H, W, 3]. exif_orientation: 1 to 8; 1 changes nothing.
    """
    if exif_orientation in SWAPS:
        pixels = pixels.swapaxes(0, 1)
    from_right, from_below = exif_orientation in (2, 3, 6, 7), exif_orientation in (3, 4, 7, 8)
    return np.ascontiguousarray(pixels[:: -1 if from_below else 1, :: -1 if from_right else 1])
