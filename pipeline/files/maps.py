"""Maps back from 8-bit PNG, masks of ensemble members to 1-bit PNG and back; `model/maps.py` writes maps."""

import io
import zlib

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from model.maps import quantise_saliency
from pipeline.errors import SampleError
from pipeline.files.pictures import decoded

MASK_THRESHOLD = 128
"""Smallest stored saliency of a pixel in the mask: 0.5, rounded up."""


def variance_of(stored: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The variance that stored values stand for, float64 in [0, 0.25]."""
    return np.square(stored.astype(np.float64) / 510)


def variance_picture(stored: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """A picture of stored variances to look at: from black for 0 to white for 0.25, the largest."""
    return quantise_saliency(variance_of(stored) * 4)


def mask_of(stored_saliency: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The mask of a stored saliency map; releases are made from stored maps."""
    return stored_saliency >= MASK_THRESHOLD


def encode_masks(masks: Bool[np.ndarray, "e h w"]) -> bytes:
    """A PNG of one bit per pixel that has E masks of one size side by side, the first one left.

    Side by side, a line of the PNG has the same row of all masks, which differ little, so that they compress well even
    if a whole mask is larger than the 32 KB in which zlib finds repetitions. Ten masks of 192 x 192 px (nano, 12
    photos) took 3.9 KB; 4.6 KB one below the other, 46 KB uncompressed. For runs alone (Z_RLE): 5.5 KB.
    """
    buffer = io.BytesIO()
    side_by_side = np.ascontiguousarray(masks.transpose(1, 0, 2)).reshape(masks.shape[1], -1)
    Image.fromarray(side_by_side).save(buffer, format="PNG", compress_level=6, compress_type=zlib.Z_DEFAULT_STRATEGY)
    return buffer.getvalue()


def decode_masks(content: bytes, count: int) -> Bool[np.ndarray, "e h w"]:
    """The masks of a PNG that `encode_masks` made of `count` masks.

    Raises: ValueError: it is not a whole PNG of one bit, or its width can't be that of so many masks.
    """

    def side_by_side(image: Image.Image) -> Bool[np.ndarray, "h w"]:
        if image.mode != "1":
            raise ValueError(f"members are stored in 1 bit; this PNG has mode {image.mode}")
        return np.asarray(image)

    try:
        found = decoded("members", content, side_by_side, max_pixels=None, formats=("PNG",))
    except SampleError as error:
        raise ValueError(f"{len(content)} bytes are not a whole PNG: {error.detail}") from error
    height, width = found.shape
    if count < 1 or width % count:
        raise ValueError(f"{width} px are not the width of {count} masks side by side")
    return found.reshape(height, count, -1).transpose(1, 0, 2)


def decode_png(content: bytes) -> UInt8[np.ndarray, "h w"]:
    """The values of a PNG that `encode_png` made.

    Raises: ValueError: it is not a whole PNG of one 8-bit channel.
    """

    def levels(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
        if image.mode != "L":
            raise ValueError(f"maps are stored as 8-bit grey; this PNG has mode {image.mode}")
        return np.asarray(image)

    try:
        return decoded("map", content, levels, max_pixels=None, formats=("PNG",))
    except SampleError as error:
        raise ValueError(f"{len(content)} bytes are not a whole PNG: {error.detail}") from error
