"""How much of a release is read: what nobody's release has is refused by its size, before it takes the memory."""

from pipeline.files import storage
from pipeline.release.changes import ANNOTATIONS_BYTES

_TEXT_BYTES = 256 << 20  # 256 MiB: a line per image in licenses.csv, the pictures of a sheet
_FREE_ROWS, _BYTES_PER_ROW = 50_000, 16
"""Rows of a manifest: each has a SHA-256, which nothing compresses, unless its image could not be read."""


def most_bytes(name: str) -> int:
    """The largest size in bytes of a release's file of that name."""
    if name.endswith(".tar"):
        return storage.MOST_BYTES
    is_large = name == "manifest.parquet" or name.startswith("annotations/")
    return ANNOTATIONS_BYTES if is_large else _TEXT_BYTES


def most_rows(content: bytes) -> int:
    """The highest number of rows that a manifest of these bytes can have."""
    return _FREE_ROWS + len(content) // _BYTES_PER_ROW
