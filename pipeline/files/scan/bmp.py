"""BMP: run-length coding is decoded in Python, code by code, so its work is bounded."""

import struct

from pipeline.files.scan.limits import OverBudgetError

MOST_RLE_STEPS = 12_000_000
"""Pixels that are handled one by one, and two steps for each byte: up to 0.18 microseconds each."""

_HEADER = struct.Struct("<iiHHI")
"""Width, height, planes, bits, compression: after the two sizes of a header of 40 bytes or more."""
_AT = 18
_EIGHT_BITS, _FOUR_BITS = 1, 2
_PIXELS_AT = slice(10, 14)


def prepared(content: bytes) -> bytes:
    """The file as it is.

    Raises: OverBudgetError: `too_slow`: run-length coding of too many bytes and pixels.
    """
    if len(content) >= _AT + _HEADER.size and int.from_bytes(content[14:18], "little") >= 40:
        width, height, _, _, compression = _HEADER.unpack_from(content, _AT)
        pixels, of_bytes = abs(width * height), 2 * len(content)
        steps = pixels + of_bytes
        if compression == _EIGHT_BITS and steps > MOST_RLE_STEPS >= of_bytes:
            steps = _filled_up(content, abs(width), pixels) + of_bytes
        if compression in (_EIGHT_BITS, _FOUR_BITS) and steps > MOST_RLE_STEPS:
            found = f"run-length coding of {pixels} pixels in {len(content)} bytes: {steps} steps"
            raise OverBudgetError("too_slow", f"{found}; the limit is {MOST_RLE_STEPS}")
    return content


def _filled_up(content: bytes, width: int, pixels: int) -> int:
    """How many pixels Pillow appends one by one, for lines of 8 bits that end early; runs are appended at once."""
    at = int.from_bytes(content[_PIXELS_AT], "little")
    filled = decoded = x = 0
    while decoded < pixels and at + 1 < len(content):
        count, value = content[at], content[at + 1]
        at += 2
        if count:
            run = min(count, max(0, width - x))
            decoded, x = decoded + run, x + run
        elif value == 0:  # end of the line
            left = -decoded % width
            filled, decoded, x = filled + left, decoded + left, 0
        elif value == 1 or (value == 2 and at + 1 >= len(content)):  # end of the image, or of the file
            break
        elif value == 2:  # a step to the right and up
            decoded += content[at] + content[at + 1] * width
            at, x = at + 2, decoded % width
        else:  # as many pixels as they are, padded to an even place
            decoded, x, at = decoded + value, x + value, at + value
            at += at % 2
    return filled


def is_bmp(content: bytes) -> bool:
    """Does the file begin as a BMP does?"""
    return content.startswith(b"BM")
