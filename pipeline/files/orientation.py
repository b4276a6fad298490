"""Which way up an image is to be shown, by its metadata: found, and taken out without touching a pixel.

Exif states it, or else XMP: readers that obey it (Pillow, OpenCV, browsers) look in this order. Only the first
directory of the Exif is read, whatever else the metadata claims to hold.
"""

import re
from collections.abc import Iterator

from pipeline.files.scan import jpeg, png, tiff, webp
from pipeline.files.scan.limits import OverBudgetError

TURNS = range(2, 9)
"""Orientations that ask for turning or mirroring."""
SWAPS = range(5, 9)
"""Those of them that exchange width and height."""

_EXIF = b"Exif\0\0"
_IN_XMP = re.compile(rb"(tiff:Orientation(?:=[\"']|>))([0-9])")


def orientation(content: bytes) -> int:
    """The orientation of a JPEG, PNG, WebP or TIFF, 1 to 8; 1 if it states none, or none that exists."""
    try:
        blocks = [content[start:end] for start, end in _metadata(content)]
        stated = [found for block in blocks if (found := _in_exif(block)) is not None]
    except OverBudgetError:
        return 1
    if not stated:
        stated = [int(in_xmp[2]) for block in blocks if (in_xmp := _IN_XMP.search(block))]
    return stated[0] if stated and stated[0] in TURNS else 1


def with_orientation_1(content: bytes) -> bytes:
    """The same file with 1 wherever its metadata has another orientation; it is as long as before.

    Raises: OverBudgetError: `too_slow`, `too_large`: its metadata is of too many parts.
    """
    mended = bytearray(content)
    for start, end in _metadata(content):
        block = bytes(mended[start:end])
        skipped = len(_EXIF) if block.startswith(_EXIF) else 0
        if tiff.is_tiff(block[skipped:]):
            block = block[:skipped] + tiff.with_orientation_1(block[skipped:])
        else:
            block = _IN_XMP.sub(rb"\g<1>1", block)
        mended[start:end] = block
    return png.with_checksums(bytes(mended)) if png.is_png(content) else bytes(mended)


def _metadata(content: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each block of Exif or XMP, as far as they are stored as they are."""
    if tiff.is_tiff(content):
        yield 0, len(content)
        yield from tiff.xmp(content)
    for begins, metadata in (
        (jpeg.is_jpeg, jpeg.metadata),
        (png.is_png, png.metadata),
        (webp.is_webp, webp.metadata),
    ):
        if begins(content):
            yield from metadata(content)


def _in_exif(block: bytes) -> int | None:
    exif = block.removeprefix(_EXIF)
    return tiff.orientation(exif) if tiff.is_tiff(exif) else None
