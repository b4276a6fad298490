"""The place that `--images` names: what is there, before anybody decides what kind of collection it is.

A place is a file, a folder, or the files that a pattern names (`patterns`). A path that exists is taken literally,
whatever signs are in it.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.collection.kept import Kept
from pipeline.collection.patterns import head_of, is_pattern, matches, without_braces
from pipeline.errors import CollectionError
from pipeline.files import urls
from pipeline.files.connections import connected
from pipeline.files.formats import format_of
from pipeline.files.ranges import read_range
from pipeline.shown import shown

CANNOT_OPEN = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError)
"""What opening a path raises when the path is wrong, rather than the machine."""
PATTERN = "pattern"
"""The `type` of a place that names several files."""
_START_BYTES = 512
_END_BYTES = 1 << 16
_THREADS = 16
_STAMPS = ("ETag", "etag", "mtime", "blob_id", "Last-Modified")
"""What file systems call it: s3fs and HTTP, gcsfs and adlfs, the local disk, Hugging Face's, HTTP without an ETag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFile:
    """One of the files of a place."""

    name: str
    """Its path below the folder, or below the folder that the pattern begins with."""
    path: str
    """In the file system of the place."""
    own_path: str
    """As `Place.own_path`."""
    file_bytes: int
    stamp: str
    """Another text once the file has changed: its ETag, or when it was changed; "" if the storage says neither."""

    @property
    def digest(self) -> str:
        """Names this state of the file, by which `Kept` knows it again; "" if nothing tells whether it has changed."""
        state = json.dumps([self.name, self.file_bytes, self.stamp])
        return hashlib.sha256(state.encode()).hexdigest() if self.stamp else ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file, a folder, the files that a pattern names, or something else on one file system."""

    given: str
    """Path or URL as the user gave it."""
    fs: AbstractFileSystem
    path: str
    """In `fs`; of a pattern, that of the folder it begins with."""
    type: str
    """`file`, `directory`, `pattern`, or what the file system calls it."""
    kept: Kept = field(default_factory=Kept)
    """What earlier sessions found in its files."""

    @staticmethod
    def of(given: str, kept: Kept | None = None) -> "Place":
        """Look at what the user named.

        Args:   kept: what earlier sessions found in its files; by default nothing.
        Raises: UsageError: it is no path or URL that can be read. OSError: nothing is there.
                StorageUnavailableError: its server can't be reached.
        """
        fs, path = urls.resolve(given, chained=True)
        path.encode("utf-8")  # a plan stores paths as text
        if not isinstance(fs, LocalFileSystem):
            fs.invalidate_cache()  # what an earlier look at it found may be out of date
        try:
            with connected(f"images {shown(given)!r}", fs):
                return Place(given=given, fs=fs, path=path, type=fs.info(path)["type"], kept=kept or Kept())
        except FileNotFoundError:
            if not is_pattern(given):
                raise
        _, path = urls.resolve(head_of(given) or ".", chained=True)
        return Place(given=given, fs=fs, path=path, type=PATTERN, kept=kept or Kept())

    @property
    def is_local(self) -> bool:
        """Is it on the local disk?"""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def own_path(self) -> str:
        """What a `Location` has of a file: the path on the local disk, or the URL."""
        return self.path if self.is_local else self.given

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the files that it has or names, sorted: directly in a folder, in no folder below it; () of a file.

        Names that begin with a dot are left out. A local listing looks at no file.
        Raises: OSError: a pattern names a file that is not there, or none.
        """
        if self.type == PATTERN:
            return tuple(map(self._without_query, self._named))
        return tuple(name for name, is_file in self._listed if is_file)

    def has_below(self, *suffixes: str) -> bool:
        """Does a folder directly below it have a file that ends in one of the suffixes, in small letters?"""
        folders = [name for name, is_file in self._listed if not is_file]
        return any(
            name.lower().endswith(suffixes)
            for folder in folders
            for name, _ in self._entries(f"{self.path.rstrip('/')}/{folder}")
        )

    @cached_property
    def _listed(self) -> tuple[tuple[str, bool], ...]:
        """Name of each file and folder at the top of a folder, and whether it is a file; sorted."""
        found = self._entries(self.path) if self.type == "directory" else []
        return tuple(sorted(entry for entry in found if not entry[0].startswith(".")))

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        if self.is_local:
            with os.scandir(folder) as entries:
                return [(entry.name, not entry.is_dir(follow_symlinks=False)) for entry in entries]
        listed = self.fs.ls(folder, detail=True)
        return [(str(info["name"]).rstrip("/").rsplit("/", 1)[-1], info["type"] == "file") for info in listed]

    def files(self, *suffixes: str) -> tuple[PlaceFile, ...]:
        """The files of `names` that end in one of the suffixes, in small letters; of a file, itself.

        Raises: CollectionError: it is at a chained URL, of whose files no one knows the URLs.
                OSError: a pattern names a file that is not there, or none.
        """
        if self.type == "file":
            return (self._file(self._without_query(self.path).rsplit("/", 1)[-1], self.path, self.own_path),)
        if "::" in self.given and not self.is_local:
            raise CollectionError(f"{self.named()}: a chained URL of a folder; give the folder's own URL, or a file's")
        above = self.path.rstrip("/") + "/"
        head = above if self.is_local else f"{self._head.rstrip('/')}/"
        below = self._named if self.type == PATTERN else self.names
        found = [(name, rest) for name, rest in zip(self.names, below, strict=True) if name.lower().endswith(suffixes)]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="info") as pool:
            return tuple(pool.map(lambda one: self._file(one[0], above + one[1], head + one[1]), found))

    @property
    def _head(self) -> str:
        return head_of(self.given) if self.type == PATTERN else self.given

    @cached_property
    def _named(self) -> tuple[str, ...]:
        """What the texts that a pattern stands for have below its folder, in order; with the query of a URL."""
        above = self.path.rstrip("/") + "/"
        head = self._head
        names = []
        for given in without_braces(self.given):
            path = above + given.removeprefix(head)
            names += [found.removeprefix(above) for found in matches(self.fs, path, given)]
        if not names:
            raise FileNotFoundError("no file fits the pattern")
        return tuple(dict.fromkeys(names))

    def _without_query(self, name: str) -> str:
        """The name without what follows it in a URL: a signature is no part of it, and belongs into no release."""
        return name if self.is_local else name.partition("?")[0]

    def _file(self, name: str, path: str, own_path: str) -> PlaceFile:
        info = self.fs.info(path)
        stamp = next((info[field] for field in _STAMPS if info.get(field)), "")
        return PlaceFile(
            name=name, path=path, own_path=own_path, file_bytes=int(info.get("size") or 0), stamp=str(stamp)
        )

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
        if self.type == PATTERN:
            return f"{len(self.names)} files that fit the pattern, {shown(self.names[0])!r} for example"
        if self.type != "file":
            return f"something of type {self.type!r}"
        size_bytes = os.path.getsize(self.path) if self.is_local else self.fs.size(self.path)
        kind = format_of(self.start)
        return f"a file of {size_bytes} bytes{f' ({kind})' if kind else ''}"
