"""WebP: the decoder reserves its canvas when it opens the file, so the size is found before; chunks are counted."""

import struct
from collections.abc import Iterator

from pipeline.files.scan.limits import require_few_parts

_FILE_HEADER_BYTES = 12


def prepared(content: bytes) -> bytes:
    """The file as it is.

    Raises: OverBudgetError: `too_slow`: too many chunks.
    """
    for _ in _chunks(content):
        pass
    return content


def size_px(content: bytes) -> tuple[int, int] | None:
    """Width and height of the canvas; None if the first chunk does not tell it."""
    head = content[20:30]
    if len(head) < 10:
        return None
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    return None


def is_webp(content: bytes) -> bool:
    """Does the file begin as a WebP does?"""
    return content.startswith(b"RIFF") and content[8:12] == b"WEBP"


def metadata(content: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the contents of the chunks that have Exif or XMP."""
    for name, start, end in _chunks(content):
        if name in (b"EXIF", b"XMP "):
            yield min(start + 8, end), end


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk, without its padding; what follows the container is none of it.

    Raises: OverBudgetError: `too_slow`: there are too many.
    """
    at, count = _FILE_HEADER_BYTES, 0
    container_end = min(len(content), 8 + int.from_bytes(content[4:8], "little"))
    while at + 8 <= container_end:
        (length,) = struct.unpack_from("<I", content, at + 4)
        count += 1
        require_few_parts(count, "chunks")
        yield content[at : at + 4], at, min(at + 8 + length, len(content))
        at += 8 + length + (length & 1)
