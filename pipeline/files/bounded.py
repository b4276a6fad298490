"""Read files whose sizes nobody has promised: a size is looked at before anything is read, and is not believed."""

import stat
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem


class TooLargeError(ValueError):
    """A file has more bytes than will be read."""


def read_at_most(fs: Any, path: str, most_bytes: int) -> bytes:
    """The content of a file of a file system of fsspec.

    Raises: TooLargeError: it has more bytes, or never ends. FileNotFoundError, OSError: it can't be read.
    """
    found_bytes = _local_size(Path(path)) if isinstance(fs, LocalFileSystem) else fs.info(path).get("size")
    if found_bytes is not None and found_bytes > most_bytes:
        raise TooLargeError(f"it has {found_bytes:,} bytes; at most {most_bytes:,} are read")
    if found_bytes is not None:
        return bytes(fs.cat_file(path))
    with fs.open(path, "rb") as file:
        content = bytes(file.read(most_bytes + 1))
    if len(content) > most_bytes:
        raise TooLargeError(f"it has more than {most_bytes:,} bytes, and no more are read")
    return content


def _local_size(path: Path) -> int:
    """Size in bytes; what is read then says whether it is a file at all."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise TooLargeError("it is a device or a pipe, not a file")
    return found.st_size
