"""Saliency and variance to 8-bit PNG.

Saliency is stored linearly: value v means v / 255, rounded, so a pixel is off by at most 1/510.
Variance is stored as its square root, so v means (v / 510)^2: thresholds lie among small variances, where a linear
scale would have fewer than ten steps. That square root, the standard deviation, is off by at most 1/1020.
Floats are rounded here because Pillow's own conversion truncates them (0.5 becomes 127).
"""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_COLOUR_COMPRESSION = {"compress_level": 6, "compress_type": zlib.Z_RLE}
"""Spelled out because bytes depend on both."""

_PNG = b"\x89PNG\r\n\x1a\n"
_EIGHT_BITS_GREY = bytes((8, 0, 0, 0, 0))
_UP = 2
"""Filter of every line: what a pixel has more than the one above it. Pillow tries four filters on each line."""

_PIXELS_AT_ONCE = 1 << 14
"""Pixels that are float64 at once, 128 KB. Whole maps of 640 x 480 px took 2.5 MB several times over, which a process's
first thread gives back to the system each time: there both maps of an image took 5.2 ms, and take 0.7."""


def quantise_saliency(saliency: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Store values in [0, 1] as 0..255, rounded."""
    return _rounded(saliency, lambda exact: np.multiply(exact, 255, out=exact))


def quantise_variance(variance: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Store values in [0, 0.25] as 0..255 by their square root, rounded."""
    return _rounded(variance, lambda exact: _deviation_steps(np.sqrt(exact, out=exact)))


def quantise_deviation(deviation: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Store values in [0, 0.5] as 0..255, rounded; larger ones become 255."""
    return _rounded(deviation, _deviation_steps)


def _deviation_steps(exact: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.clip(np.multiply(exact, 510, out=exact), 0, 255, out=exact)


def _rounded(
    values: Float[np.ndarray, "h w"], scale: Callable[[Float[np.ndarray, " n"]], object]
) -> UInt8[np.ndarray, "h w"]:
    """Round values to 8 bits, some thousand pixels at a time.

    Args: scale: brings float64 values to [0, 255], in place.
    """
    flat = values.reshape(-1)
    stored = np.empty(flat.shape, np.uint8)
    space = np.empty(min(flat.size, _PIXELS_AT_ONCE))
    for start in range(0, flat.size, _PIXELS_AT_ONCE):
        part = flat[start : start + _PIXELS_AT_ONCE]
        exact = space[: part.size]
        exact[:] = part
        scale(exact)
        stored[start : start + part.size] = np.rint(exact, out=exact)
    return stored.reshape(values.shape)


def encode_png(values: UInt8[np.ndarray, "h w *channels"]) -> bytes:
    """A PNG of one 8-bit channel or four (red, green, blue, alpha).

    Equal values give equal bytes: of four channels with one version of Pillow; of one channel with every zlib that was
    tried (1.2.13, and zlib-ng 2.3), since looking for runs only (Z_RLE) leaves nothing to choose.
    """
    if values.ndim == 2:
        return _grey_png(values)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", **_COLOUR_COMPRESSION)
    return buffer.getvalue()


def _grey_png(values: UInt8[np.ndarray, "h w"]) -> bytes:
    """Maps are smooth or have two values: runs of differences between lines are nearly all that there is to find."""
    height, width = values.shape
    lines = np.empty((height, 1 + width), np.uint8)
    lines[:, 0] = _UP
    lines[:1, 1:] = values[:1]
    np.subtract(values[1:], values[:-1], out=lines[1:, 1:])
    packer = zlib.compressobj(level=6, strategy=zlib.Z_RLE)
    pixels = packer.compress(lines.data) + packer.flush()
    header = struct.pack(">II", width, height) + _EIGHT_BITS_GREY
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
