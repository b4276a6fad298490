"""JPEG: metadata is left out, and scans are counted against the image's pixels."""

import re
from collections.abc import Iterator

from pipeline.files.scan.limits import OverBudgetError, require_few_parts

SCANS_OF_ANY_IMAGE = 32
"""Scans that an image of any size may have. Common encoders write 10, and 18 for four colours."""
MOST_SCANNED_SAMPLES = 1_500_000_000
"""Samples (a pixel of a component) in all scans of an image with more scans; 1 to 3 ns each."""

_DHT, _EOI, _SOS = 0xC4, 0xD9, 0xDA
_SEQUENTIAL = (0xC0, 0xC1)
_MORE_DATA = bytes(37 * place % 251 for place in range(512))
"""Of all kinds, but no FF, which would begin a marker."""
_ZEROS = bytes(2048)
_PROFILE = b"ICC_PROFILE\0"
_EXIF_OR_XMP = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
_METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
"""APPn and COM, but for those that decide colours: APP0 (JFIF) and APP14 (Adobe)."""
# Fill bytes (FF), and within a scan stuffed zeros and restart markers, are not where something begins.
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_LONG_FILL = b"\xff" * 1024
_FILL = re.compile(rb"\xff{1024,}")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def prepared(content: bytes) -> bytes:
    """The file without metadata, fill bytes and junk before its first scan, and without long fill in its scans.

    Raises: OverBudgetError: `too_slow`: too many segments, or too many scans for its size.
    """
    kept = [content[:2]]
    scans = samples = pixels = 0
    at, marker = 2, 0
    for marker, start, end in _segments(content):
        if scans:
            kept.append(_without_long_fill(content[at:start]))
        if marker in _FRAMES:
            pixels = int.from_bytes(content[start + 5 : start + 7]) * int.from_bytes(content[start + 7 : start + 9])
        elif marker == _SOS:
            scans += 1
            samples += pixels * max(1, content[start + 4] if start + 4 < len(content) else 1)
        if scans or marker not in _METADATA:
            kept.append(content[start:end])
        at = end
    if scans > SCANS_OF_ANY_IMAGE and samples > MOST_SCANNED_SAMPLES:
        found = f"{scans} scans of {pixels} pixels, {samples} samples; the limit is {MOST_SCANNED_SAMPLES}"
        raise OverBudgetError("too_slow", found)
    if scans:
        kept.append(content[at:] if marker == _EOI else _without_long_fill(content[at:]))
    return b"".join(kept)


def _without_long_fill(scan: bytes) -> bytes:
    """Fill bytes mean nothing, but Pillow gives a run of them to libjpeg again and again, a little longer each time."""
    return _FILL.sub(b"\xff", scan) if _LONG_FILL in scan else scan


def is_jpeg(content: bytes) -> bool:
    """Does the file begin as a JPEG does?"""
    return content.startswith(b"\xff\xd8\xff")


def metadata(content: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the contents of the segments that have Exif or XMP."""
    return (span for span in _contents(content, 0xE1) if content.startswith(_EXIF_OR_XMP, span[0]))


def profile(content: bytes) -> bytes:
    """The colour profile, put together from its segments; empty if there is none, or no whole one."""
    parts: dict[int, bytes] = {}
    count = 0
    for start, end in _contents(content, 0xE2):
        if content.startswith(_PROFILE, start) and end - start > len(_PROFILE) + 2:
            number, count = content[start + len(_PROFILE)], content[start + len(_PROFILE) + 1]
            if number in parts:
                return b""
            parts[number] = content[start + len(_PROFILE) + 2 : end]
    is_whole = sorted(parts) == list(range(1, count + 1))
    return b"".join(parts[number] for number in sorted(parts)) if is_whole else b""


def with_more_data(content: bytes) -> bytes:
    """A sequential JPEG with bytes after the data of its last scan, which decoders skip if the data are whole.

    Empty for a progressive one, whose data have no single end, and for a file without an end.
    """
    for marker, start, _ in _segments(content):
        if marker in _FRAMES and marker not in _SEQUENTIAL:
            return b""
        if marker == _EOI:
            return content[:start] + _MORE_DATA + content[start:]
    return b""


def zeros(content: bytes) -> int:
    """Where a long run of zeros begins in the data of a sequential JPEG that no encoder writes; 0 if there is none.

    Zeros can mean an even area, if a code of the file's says so; otherwise they mean the same noise in every block.
    """
    if _ZEROS not in content:
        return 0
    meanings: dict[int, int] = {}
    at, are_even = 0, True
    for marker, start, end in _segments(content):
        if not are_even and (found := content.find(_ZEROS, at, start)) >= 0:
            return found
        if marker in _FRAMES and marker not in _SEQUENTIAL:
            return 0
        if marker == _DHT:
            meanings |= _meanings_of_zeros(content[start + 4 : end])
        if marker == _SOS:
            tables = content[start + 6 : start + 6 + 2 * content[start + 4] : 2] if end > start + 6 else b""
            are_even = not any(meanings.get(table & 0x0F) for table in tables)
        at = end
    return 0


def _meanings_of_zeros(tables: bytes) -> dict[int, int]:
    """Number of a table of codes for all but the first value of a block → what its code of zeros alone means.

    0: the rest of the block is even.
    """
    meanings, at = {}, 0
    while at + 17 < len(tables):
        if tables[at] & 0xF0:
            meanings[tables[at] & 0x0F] = tables[at + 17]
        at += 17 + sum(tables[at + 1 : at + 17])
    return meanings


def _contents(content: bytes, wanted: int) -> Iterator[tuple[int, int]]:
    for marker, start, end in _segments(content):
        if marker == _SOS:
            return
        if marker == wanted:
            yield min(start + 4, end), end


def size_px(start: bytes) -> tuple[int, int] | None:
    """Width and height, if the file begins with so many bytes that its first scan is seen."""
    size = None
    for marker, at, end in _segments(start):
        if marker in _FRAMES and end - at >= 9:
            size = int.from_bytes(start[at + 7 : at + 9]), int.from_bytes(start[at + 5 : at + 7])
        elif marker == _SOS:
            return size if size and all(size) else None
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the end of the image, as libjpeg and Pillow find them.

    A segment that reaches beyond the file ends with it.
    Raises: OverBudgetError: `too_slow`: there are too many.
    """
    at, count, after_scan = 2, 0, False
    while found := (_MARKER_AFTER_SCAN if after_scan else _MARKER).search(content, at):
        start, marker = found.start(), content[found.start() + 1]
        if marker in _WITHOUT_LENGTH:
            end = found.end()
        else:
            # A length counts its own two bytes; decoders read smaller ones as 2.
            end = start + 2 + max(2, int.from_bytes(content[start + 2 : start + 4]))
        count += 1
        require_few_parts(count, "segments")
        yield marker, start, min(end, len(content))
        if marker == _EOI:
            return
        after_scan = after_scan or marker == _SOS
        at = end
