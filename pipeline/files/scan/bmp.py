"""BMP: run-length coding is decoded in Python, code by code, so its work is bounded."""

import struct

from pipeline.files.scan.limits import OverBudgetError

MOST_RLE_STEPS = 32_000_000
"""Pixels, and two steps for each byte: about 0.1 microseconds each."""

_HEADER = struct.Struct("<iiHHI")
"""Width, height, planes, bits, compression: after the two sizes of a header of 40 bytes or more."""
_AT = 18
_RUN_LENGTHS = (1, 2)


def prepared(content: bytes) -> bytes:
    """The file as it is.

    Raises: OverBudgetError: `too_slow`: run-length coding of too many bytes and pixels.
    """
    if len(content) >= _AT + _HEADER.size and int.from_bytes(content[14:18], "little") >= 40:
        width, height, _, _, compression = _HEADER.unpack_from(content, _AT)
        steps = abs(width * height) + 2 * len(content)
        if compression in _RUN_LENGTHS and steps > MOST_RLE_STEPS:
            found = f"run-length coding of {abs(width * height)} pixels in {len(content)} bytes: {steps} steps"
            raise OverBudgetError("too_slow", f"{found}; the limit is {MOST_RLE_STEPS}")
    return content


def is_bmp(content: bytes) -> bool:
    """Does the file begin as a BMP does?"""
    return content.startswith(b"BM")
