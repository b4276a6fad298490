"""Label Studio's run lengths of a brush: the RGBA bytes of the image, row by row, packed bit by bit.

    32 bits   number of bytes: height x width x 4
    5 bits    bits of a value, less 1: 8 of them here
    4 x 4     four sizes of a length, in bits, less 1
    then pieces, until all bytes are there: a bit, 1 for a run of one value and 0 for values one by one; 2 bits that
    choose a size; the length of the piece less 1, in so many bits; the value, or the values
    zeros up to a whole byte, or one more

All four channels have the same values: 0 outside the brush, 255 in it, and what lies between on the edges of strokes.
Source: @thi.ng/rle-pack 3.2.12, with which Label Studio's page encodes (`Region2RLE`), and `converter/brush.py` of
label-studio-sdk 2.1.2. The second of these decodes what is encoded here, and this module what both encode.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

_CHANNELS, _VALUE_BITS = 4, 8
_ALPHA = 3
_SIZES = (3, 4, 8, 16)
"""Bits of a length, as both encoders have them."""
_LONGEST_RUN = 1 << _SIZES[-1]
_HEADER_BYTES = 7


def encode_brush(pixels: Bool[np.ndarray, "h w"]) -> list[int]:
    """Encode a mask; returns bytes."""
    flat = pixels.ravel()
    ends = np.flatnonzero(np.diff(flat, append=not flat[-1])) + 1
    runs = (np.diff(ends, prepend=0) * _CHANNELS).tolist()
    bits = [f"{flat.size * _CHANNELS:032b}{_VALUE_BITS - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for number, run in enumerate(runs):
        value = 255 if flat[0] != bool(number % 2) else 0
        for length in [_LONGEST_RUN] * ((run - 1) // _LONGEST_RUN) + [(run - 1) % _LONGEST_RUN + 1]:
            choice = next(place for place, size in enumerate(_SIZES) if length <= 1 << size)
            bits.append(f"1{choice:02b}{length - 1:0{_SIZES[choice]}b}{value:08b}")
    return np.packbits(np.frombuffer("".join(bits).encode(), np.uint8) - ord("0")).tolist()  # type: ignore[no-any-return]


def decode_brush(packed: Sequence[Any], height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """Decode a brush's bytes of an image of that size; pixels of more than half the largest opacity are salient.

    Raises: ValueError: it is no such list, or is of another size. Nothing larger than the image is made.
    """
    if not isinstance(packed, list) or not all(type(byte) is int and 0 <= byte < 256 for byte in packed):
        raise ValueError("a brush is to be a list of bytes")
    if len(packed) > 2 * height * width * _CHANNELS + _HEADER_BYTES:  # values one by one, at most 11 bits before each 8
        raise ValueError("a brush of more bytes than the image can need")
    reader = _Bits(np.unpackbits(np.array(packed, dtype=np.uint8)))
    stated, value_bits = reader.number(32), reader.number(5) + 1
    if stated != height * width * _CHANNELS or value_bits != _VALUE_BITS:
        raise ValueError(
            f"a brush of {stated} values of {value_bits} bits; {width} x {height} px have "
            f"{height * width * _CHANNELS} of {_VALUE_BITS}"
        )
    alpha = _values(reader, stated)[_ALPHA::_CHANNELS].reshape(height, width)
    salient: Bool[np.ndarray, "h w"] = alpha > int(alpha.max()) // 2
    return salient


def _values(reader: "_Bits", count: int) -> UInt8[np.ndarray, " n"]:
    sizes = [reader.number(4) + 1 for _ in range(4)]
    values = np.zeros(count, dtype=np.uint8)
    done = 0
    while done < count:
        is_run = reader.number(1)
        length = reader.number(sizes[reader.number(2)]) + 1
        if done + length > count:
            raise ValueError("a brush whose runs are longer than the image")
        values[done : done + length] = reader.number(_VALUE_BITS) if is_run else reader.bytes(length)
        done += length
    return values


class _Bits:
    """Reads numbers of any width, the highest bit first."""

    def __init__(self, bits: UInt8[np.ndarray, " n"]) -> None:
        self._bits, self._text, self._place = bits, (bits + ord("0")).tobytes().decode("ascii"), 0

    def number(self, width: int) -> int:
        self._place += width
        self._require()
        return int(self._text[self._place - width : self._place], 2)

    def bytes(self, count: int) -> UInt8[np.ndarray, " n"]:
        start, self._place = self._place, self._place + count * _VALUE_BITS
        self._require()
        return np.packbits(self._bits[start : self._place])

    def _require(self) -> None:
        if self._place > self._bits.size:
            raise ValueError("a brush that ends before the image does")
