"""What an image looks like from afar: the low frequencies of a small grey picture of it, and a hash of them. Pure.

The picture is a square, whatever the image's shape, so a resized, recompressed or greyed copy has nearly the same
frequencies; those that are odd in the horizontal change their sign when it is mirrored.
Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2.1 (pHash).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int16, UInt8
from PIL import Image
from scipy.fft import dctn

SIDE_PX = 64
FREQUENCIES = 8
"""Cosines in each direction, the constant one included."""
LEVELS = 4
"""Whole numbers per grey level in a stored thumbnail, whose pixels are means of four of the picture's."""
ODD = FREQUENCIES * FREQUENCIES // 2
"""How many of the frequencies are odd in the horizontal."""
HASH_DIGITS = FREQUENCIES * FREQUENCIES // 4
_FLAT = 64.0
"""A contrast of one grey level over the whole picture. Images with less count as blank, and blank ones are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Afar:
    """An image from afar."""

    frequencies: Float[np.ndarray, " 64"]
    """Of a small grey picture, those that are odd in the horizontal last. Each is weighted by the distance from the
    constant one, since low ones are large in every photograph. In the place of the constant one is a fixed small
    number: a blank image has nothing else."""
    hash: str
    """64 bits as hexadecimal digits: is each frequency above the median of all but the constant one?"""
    thumbnail: Int16[np.ndarray, " 1024"]
    """32 rows of 32 grey values, times `LEVELS`."""


def seen_from_afar(image: UInt8[np.ndarray, "_h _w 3"]) -> Afar:
    """Look at an image of any size."""
    small = Image.fromarray(image).convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    grey = np.asarray(small, dtype=np.int16)
    side = SIDE_PX // 2
    cosines = dctn(grey.astype(np.float64), norm="ortho")[:FREQUENCIES, :FREQUENCIES].copy()
    bits = cosines.ravel() > np.median(cosines.ravel()[1:])
    rows, columns = np.mgrid[:FREQUENCIES, :FREQUENCIES]
    weighted = cosines * np.hypot(rows, columns)
    weighted[0, 0] = _FLAT
    return Afar(
        frequencies=np.concatenate([weighted[:, 0::2].ravel(), weighted[:, 1::2].ravel()]),
        hash=np.packbits(bits).tobytes().hex(),
        thumbnail=grey.reshape(side, 2, side, 2).sum(axis=(1, 3), dtype=np.int16).ravel(),
    )


def bits_between(one: str, other: str) -> int:
    """Number of bits by which two hashes differ, 0 to 64; about 32 for unrelated images."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
