"""Saliency, variance and masks as 8-bit PNG, and back.

Saliency is stored linearly: value v means v / 255, rounded, so a pixel is off by at most 1/510.
Variance is stored by its square root, v means (v / 510)^2: small variances are where the threshold lies, and a linear
scale would have less than ten steps there. Its square root, the standard deviation, is off by at most 1/1020.
Source of the trap avoided here: Pillow's own conversion of floats truncates (0.5 becomes 127).
"""

import io
import zlib

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

MASK_THRESHOLD = 128
"""Stored saliency from which on a pixel belongs to the mask: 0.5, rounded up."""

_COMPRESSION = {"compress_level": 6, "compress_type": zlib.Z_RLE}
"""Maps are smooth or have two values: looking for runs alone makes them no larger, in less than half the time. Written
down in full because the bytes of a release depend on it."""


def quantise_saliency(saliency: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Values in [0, 1] to 0..255, rounded."""
    return np.rint(saliency.astype(np.float64) * 255).astype(np.uint8)


def quantise_variance(variance: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Values in [0, 0.25] to 0..255 by their square root, rounded."""
    return quantise_deviation(np.sqrt(variance.astype(np.float64)))


def quantise_deviation(deviation: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Values in [0, 0.5] to 0..255, rounded; larger ones become 255."""
    stored: UInt8[np.ndarray, "h w"] = np.rint((deviation.astype(np.float64) * 510).clip(0, 255)).astype(np.uint8)
    return stored


def variance_of(stored: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The variance that stored values mean, float64 in [0, 0.25]."""
    return np.square(stored.astype(np.float64) / 510)


def variance_picture(stored: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Stored variances as a picture to look at: four times the variance, which is up to 0.25, from black to white."""
    return quantise_saliency(variance_of(stored) * 4)


def mask_of(stored_saliency: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The mask of a stored saliency map; releases are made from what is stored."""
    return stored_saliency >= MASK_THRESHOLD


def encode_png(values: UInt8[np.ndarray, "h w"]) -> bytes:
    """One channel, 8 bits; equal values give equal bytes for one version of Pillow and zlib."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", **_COMPRESSION)
    return buffer.getvalue()


def decode_png(content: bytes) -> UInt8[np.ndarray, "h w"]:
    """A PNG of ours back to its values.

    Raises: ValueError: it is no single-channel 8-bit PNG.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.mode != "L":
                raise ValueError(f"a map is stored as 8-bit grey, this PNG has mode {image.mode}")
            return np.asarray(image)
    except (OSError, SyntaxError) as error:  # Pillow's for what is no image, or a torn one
        raise ValueError(f"{len(content)} bytes that are no whole PNG: {error}") from error
