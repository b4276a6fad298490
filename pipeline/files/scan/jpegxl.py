"""JPEG XL: its plug-in decodes when it opens the file, so the size is found before."""

from pipeline.files.scan.boxes import boxes

_START = b"\xff\x0a"
_CONTAINER = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_SIDE_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def is_jpegxl(content: bytes) -> bool:
    """Does the file begin as a JPEG XL does, alone or in its container?"""
    return content.startswith((_START, _CONTAINER))


def size_px(content: bytes) -> tuple[int, int] | None:
    """Width and height as stored; None if the file has no header.

    Raises: OverBudgetError: `too_slow`: its container has too many boxes.
    """
    stream = content
    if content.startswith(_CONTAINER):
        of_name = {b"jxlc": 0, b"jxlp": 4}  # a part begins with its number
        starts = (content[start + of_name[name] : end] for name, start, end in boxes(content) if name in of_name)
        stream = next(starts, b"")
    if not stream.startswith(_START):
        return None
    bits = _Bits(stream[2:12])
    is_small = bits.take(1)
    height = _side(bits, is_small)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height * across // down, height
    return _side(bits, is_small), height


def _side(bits: "_Bits", is_small: int) -> int:
    return 8 * (1 + bits.take(5)) if is_small else 1 + bits.take(_SIDE_BITS[bits.take(2)])


class _Bits:
    """Takes bits from bytes, the lowest first; there are zeros after the end."""

    def __init__(self, content: bytes) -> None:
        self._rest = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        taken = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return taken
