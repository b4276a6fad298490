"""PNG: chunks that decide no pixel (texts, profiles, later frames of an animation) are left out, the others counted."""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from pipeline.files.scan.limits import require_few_parts

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_NAME = re.compile(rb"[A-Za-z]{4}")
_OPTIONAL = 0x20
"""This bit of the name's first letter marks a chunk that decoders may ignore."""
_DECIDES_PIXELS = b"tRNS"
_XMP = b"XML:com.adobe.xmp\0\0"
"""Keyword and flag of XMP that is not compressed."""
_BITS_AT = 24


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
    """Width and height, if the file ends with these bytes: an orientation may stand behind the pixels.

    Raises: OverBudgetError: `too_slow`: too many chunks.
    """
    names = [name for name, _, _ in _whole_chunks(start)]
    if names[:1] != [b"IHDR"] or names[-1] != b"IEND":
        return None
    width, height = struct.unpack_from(">2I", start, 16)
    return (width, height) if width and height else None


def metadata(content: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the contents of the chunks that have Exif, or XMP as plain text."""
    for name, start, end in _whole_chunks(content):
        if name == b"eXIf" or (name == b"iTXt" and content.startswith(_XMP, start + 8)):
            yield start + 8, end - 4


def with_checksums(content: bytes) -> bytes:
    """The file with the right checksums for the chunks of `metadata`, whose contents have changed."""
    mended = bytearray(content)
    at = len(SIGNATURE)
    while (end := at + 12 + int.from_bytes(content[at : at + 4])) <= len(content):
        if content[at + 4 : at + 8] in (b"eXIf", b"iTXt"):
            mended[end - 4 : end] = zlib.crc32(content[at + 4 : end - 4]).to_bytes(4)
        at = end
    return bytes(mended)


def profile(content: bytes, most_bytes: int) -> bytes:
    """The colour profile; empty if there is none, or no whole one within the limit."""
    for name, start, end in _whole_chunks(content):
        if name == b"iCCP":
            packed = content[start + 8 : end - 4].partition(b"\0")[2][1:]
            unpacking = zlib.decompressobj()
            with suppress(zlib.error):
                unpacked = unpacking.decompress(packed, most_bytes)
                return unpacked if unpacking.eof else b""
    return b""


def bits(content: bytes) -> int:
    """Bits of a sample as stored; 0 if the file ends before it says so."""
    return content[_BITS_AT] if len(content) > _BITS_AT else 0


def significant_bits(content: bytes) -> int:
    """Bits of a sample that the file says were measured (sBIT), the most of all channels; 0 if it does not say."""
    for name, start, end in _whole_chunks(content):
        if name == b"sBIT":
            return max(content[start + 8 : end - 4], default=0)
    return 0


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
