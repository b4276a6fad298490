"""Saliency and variance to 8-bit PNG.

Saliency is stored linearly: value v means v / 255, rounded, so a pixel is off by at most 1/510.
Variance is stored as its square root, so v means (v / 510)^2: thresholds lie among small variances, where a linear
scale would have fewer than ten steps. That square root, the standard deviation, is off by at most 1/1020.
Floats are rounded here because Pillow's own conversion truncates them (0.5 becomes 127).
"""

import io
import zlib

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_COMPRESSION = {"compress_level": 6, "compress_type": zlib.Z_RLE}
"""Maps are smooth or have two values: searching for runs only makes files no larger and takes less than half the time.
Both settings are spelled out because the bytes of a release depend on them."""


def quantise_saliency(saliency: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Store values in [0, 1] as 0..255, rounded."""
    return np.rint(saliency.astype(np.float64) * 255).astype(np.uint8)


def quantise_variance(variance: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Store values in [0, 0.25] as 0..255 by their square root, rounded."""
    return quantise_deviation(np.sqrt(variance.astype(np.float64)))


def quantise_deviation(deviation: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Store values in [0, 0.5] as 0..255, rounded; larger ones become 255."""
    stored: UInt8[np.ndarray, "h w"] = np.rint((deviation.astype(np.float64) * 510).clip(0, 255)).astype(np.uint8)
    return stored


def encode_png(values: UInt8[np.ndarray, "h w *channels"]) -> bytes:
    """A PNG of one 8-bit channel or four (red, green, blue, alpha).

    Equal values give equal bytes with one version of Pillow and zlib.
    """
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", **_COMPRESSION)
    return buffer.getvalue()
