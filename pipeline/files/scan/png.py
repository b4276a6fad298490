"""PNG: chunks that decide no pixel (texts, profiles, later frames of an animation) are left out, the others counted."""

import re
import struct
import zlib
from collections.abc import Iterator

from pipeline.files.scan.limits import require_few_parts

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_NAME = re.compile(rb"[A-Za-z]{4}")
_OPTIONAL = 0x20
"""This bit of the name's first letter marks a chunk that decoders may ignore."""
_DECIDES_PIXELS = b"tRNS"


def prepared(content: bytes) -> bytes:
    """The file without the chunks that decide no pixel.

    A damaged chunk and what follows it are kept, so that the decoder finds the damage.
    Raises: OverBudgetError: `too_slow`: too many chunks.
    """
    kept = [SIGNATURE]
    at = len(SIGNATURE)
    for name, start, end in _whole_chunks(content):
        if name == _DECIDES_PIXELS or not name[0] & _OPTIONAL:
            kept.append(content[start:end])
        at = end
    return b"".join([*kept, content[at:]])


def is_png(content: bytes) -> bool:
    """Does the file begin as a PNG does?"""
    return content.startswith(SIGNATURE)


def size_px(start: bytes) -> tuple[int, int] | None:
    """Width and height, if the file begins with so many bytes that its pixels begin: an orientation comes before."""
    at = len(SIGNATURE)
    while at + 8 <= len(start) and start[at + 4 : at + 8] != b"IDAT":
        at += 12 + int.from_bytes(start[at : at + 4])
    if start[12:16] != b"IHDR" or at + 8 > len(start):
        return None
    width, height = struct.unpack_from(">2I", start, 16)
    return (width, height) if width and height else None


def metadata(content: bytes) -> Iterator[bytes]:
    """The contents of the eXIf chunks."""
    for name, start, end in _whole_chunks(content):
        if name == b"eXIf":
            yield content[start + 8 : end - 4]


def _whole_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk up to the first damaged one; checksums of optional ones are compared.

    Raises: OverBudgetError: `too_slow`: there are too many.
    """
    view = memoryview(content)
    at, count = len(SIGNATURE), 0
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        name, end = content[at + 4 : at + 8], at + 12 + length
        if end > len(content) or not _NAME.fullmatch(name):
            return
        is_optional = name[0] & _OPTIONAL
        if is_optional and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end]):
            return
        count += 1
        require_few_parts(count, "chunks")
        yield name, at, end
        if name == b"IEND":
            return
        at = end
