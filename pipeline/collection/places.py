"""The place that `--images` names: what is there, before anybody decides what kind of collection it is."""

import os
from dataclasses import dataclass
from functools import cached_property

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.files import urls
from pipeline.files.connections import connected
from pipeline.files.formats import format_of
from pipeline.files.ranges import read_range
from pipeline.shown import shown

CANNOT_OPEN = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError)
"""What opening a path raises when the path is wrong, rather than the machine."""
_START_BYTES = 512
_END_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file, a folder, or something else on one file system."""

    given: str
    """Path or URL as the user gave it."""
    fs: AbstractFileSystem
    path: str
    """In `fs`."""
    type: str
    """`file`, `directory`, or what the file system calls it."""

    @staticmethod
    def of(given: str) -> "Place":
        """Look at what the user named.

        Raises: UsageError: it is no path or URL that can be read. OSError: nothing is there.
                StorageUnavailableError: its server can't be reached.
        """
        fs, path = urls.resolve(given, chained=True)
        path.encode("utf-8")  # a plan stores paths as text
        with connected(f"images {shown(given)!r}", fs):
            return Place(given=given, fs=fs, path=path, type=fs.info(path)["type"])

    @property
    def is_local(self) -> bool:
        """Is it on the local disk?"""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def own_path(self) -> str:
        """What a `Location` has of a file: the path on the local disk, or the URL."""
        return self.path if self.is_local else self.given

    @cached_property
    def start(self) -> bytes:
        """The first 512 bytes of a file; b"" of anything else."""
        return read_range(self.fs, self.path, 0, _START_BYTES) if self.type == "file" else b""

    @cached_property
    def end(self) -> bytes:
        """The last 64 KiB of a file, where archives have their directories; b"" of anything else."""
        if self.type != "file":
            return b""
        size_bytes = self.fs.size(self.path) or 0
        return read_range(self.fs, self.path, max(0, size_bytes - _END_BYTES), size_bytes)

    def named(self) -> str:
        """How messages name it."""
        return f"images {shown(self.given)!r}"

    def in_words(self) -> str:
        """What is there, for a message about a place that can't be used."""
        if self.type == "directory":
            return "a folder"
        if self.type != "file":
            return f"something of type {self.type!r}"
        size_bytes = os.path.getsize(self.path) if self.is_local else self.fs.size(self.path)
        kind = format_of(self.start)
        return f"a file of {size_bytes} bytes{f' ({kind})' if kind else ''}"
