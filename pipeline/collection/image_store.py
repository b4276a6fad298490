"""Where the bytes of each image are: in a folder or a zip, local or remote, looked through once and never unpacked.

This module decides which file or archive member belongs to a `file_name` of the annotations, and that no name leaves
its folder. It reads no image: `images.read_bytes` does, from the `Location` found here. What it says of an image goes
into a manifest, so it names no path of this machine, and says the same of a folder and of a zip of it.
"""

import os
import posixpath
import re
import stat
import struct
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import CollectionError, SampleError
from pipeline.records import Location

CANNOT_OPEN = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError, ImportError)
"""What opening a path raises when the path is wrong, not the machine; ValueError and ImportError are fsspec's answers
to an unknown protocol and to one whose package is not installed."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_DRIVE = re.compile(r"[A-Za-z]:")
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1 | 0x40
_READABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What `zipfile` was seen to raise for archives with flipped bytes; OverflowError: offsets beyond 2^63.
_TORN = (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, EOFError, IndexError)


class ImageStore(Protocol):
    """A folder or archive that was listed once."""

    def locate(self, file_name: str) -> Location:
        """Where the bytes of `file_name` are.

        Raises: SampleError: `unsafe_path`, `missing`, or `unreadable` (ambiguous, encrypted, unknown compression).
        """


def open_store(images: str, file_names: Iterable[str]) -> ImageStore:
    """List a folder of images, or read the central directory of a zip of them.

    Args:   images: local path or fsspec URL of a folder or a zip.
            file_names: all names that will be asked for; folders that none of them is in are not listed.
    Raises: CollectionError: there is nothing at `images`, or it is neither a folder nor a whole zip.
    """
    try:
        fs, path = filesystem(images)
        path.encode("utf-8")  # a plan keeps paths as text
        kind = fs.info(path)["type"]
        if kind == "directory":
            return _open_folder(fs, path, images, set(file_names))
        if kind == "file":
            return _open_zip(fs, path, images, set(file_names))
    except CANNOT_OPEN as error:
        raise CollectionError(f"images {images!r}: {error}; give an existing folder or zip that can be read") from error
    raise CollectionError(
        f"images {images!r}: found something of type {kind!r}; give a folder of images or a zip of them"
    )


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """The fsspec file system of a path or URL, and the path in it, absolute for local ones.

    Raises ValueError or ImportError for an empty path and for a protocol that is unknown or not installed.
    Local paths never go through URL parsing, so that "::" and "#" in a folder's name mean nothing.
    """
    if not url:
        raise ValueError("the path is empty")
    if not _URL.match(url):
        return LocalFileSystem(), os.path.abspath(url)
    fs, path = fsspec.core.url_to_fs(url)
    return fs, str(path)


def read_file(url: str) -> bytes:
    """The bytes of a file at a local path or fsspec URL; raises one of `CANNOT_OPEN` when the path is wrong."""
    fs, path = filesystem(url)
    return bytes(fs.cat_file(path))


def safe_name(file_name: str) -> str:
    """`file_name` in normal form: relative, "/" between its parts, without "." parts.

    Raises: SampleError: `unsafe_path`, as the name may lead out of its folder. "::" and "://" are refused since a URL
            made of the folder and such a name would be read as another URL.
    """
    rules = {
        "is empty": not file_name,
        "is absolute": file_name.startswith("/"),
        "names a drive": _DRIVE.match(file_name) is not None,
        "has a backslash": "\\" in file_name,
        "has a NUL": "\0" in file_name,
        "has a '..' part": ".." in file_name.split("/"),
        "has URL syntax": "::" in file_name or "://" in file_name,
    }
    for rule, broken in rules.items():
        if broken:
            raise SampleError("unsafe_path", f"file_name {_short(file_name)} {rule}; it must stay in the images folder")
    return posixpath.normpath(file_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A listed folder: `files` and `links` (symbolic ones, local only) are relative to `root`, a path or URL."""

    root: str
    files: frozenset[str]
    links: frozenset[str]

    def locate(self, file_name: str) -> Location:
        name = safe_name(file_name)
        if name in self.files:
            return Location(path=posixpath.join(self.root, name))
        if self.links and (name in self.links or any(parent in self.links for parent in _parents(name))):
            return self._through_link(name)
        raise SampleError("missing", _missing(file_name))

    def _through_link(self, name: str) -> Location:
        root = os.path.realpath(self.root)
        target = os.path.realpath(os.path.join(self.root, name))
        if os.path.commonpath([root, target]) != root:
            raise SampleError("unsafe_path", f"file_name {_short(name)} is a link that leads out of the images folder")
        if not os.path.isfile(target):
            raise SampleError("missing", f"file_name {_short(name)} is a link that leads to no file")
        return Location(path=target)


def _open_folder(fs: AbstractFileSystem, path: str, images: str, file_names: set[str]) -> _Folder:
    if isinstance(fs, LocalFileSystem):
        files, links = _list_local(path, {parent for name in file_names for parent in _parents(name)})
        return _Folder(root=path, files=files, links=links)
    if "::" in images:
        raise CollectionError(f"images {images!r}: a chained URL of a folder; give the folder's or the zip's own URL")
    root = path.rstrip("/") + "/"
    files = frozenset(str(name).removeprefix(root) for name in fs.find(path))
    return _Folder(root=images.rstrip("/"), files=files, links=frozenset())


def _list_local(root: str, wanted: set[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Regular files and links of `root` and of its wanted sub-folders, relative; one listing each and no stat."""
    files, links = set(), set()
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                name = folder + entry.name
                if entry.is_symlink():
                    links.add(name)
                elif entry.is_file():
                    files.add(name)
                elif name in wanted and entry.is_dir():
                    folders.append(name + "/")
    return frozenset(files), frozenset(links)


def _parents(file_name: str) -> list[str]:
    """The folders a relative name passes through: "a/b/c.jpg" gives "a" and "a/b"."""
    parts = posixpath.normpath(file_name).split("/") if "/" in file_name else [file_name]
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Zip:
    """The central directory of a zip.

    `top` is "" or the one folder that all members are in, with its "/". `bases` has the members of each basename,
    only for basenames that a single wanted name has: two images never share a member because their folders differ.
    """

    path: str
    archive_bytes: int
    members: Mapping[str, list[zipfile.ZipInfo]]
    bases: Mapping[str, list[zipfile.ZipInfo]]
    top: str

    def locate(self, file_name: str) -> Location:
        name = safe_name(file_name)
        for found in (
            self.members.get(file_name),
            self.members.get(name),
            self.members.get(self.top + name),
            self.bases.get(posixpath.basename(name)),
        ):
            if found:
                return self._location(file_name, found)
        raise SampleError("missing", _missing(file_name))

    def _location(self, file_name: str, found: list[zipfile.ZipInfo]) -> Location:
        where = f"file_name {_short(file_name)}"
        if len(found) > 1:
            names = [member.filename for member in found[:3]]
            raise SampleError("unreadable", f"{where}: ambiguous, {len(found)} members match: {names!r}")
        member = found[0]
        problem = _member_problem(member, self.archive_bytes)
        if problem:
            raise SampleError("unreadable", f"{where}: {problem}")
        return Location(
            path=self.path,
            header_offset=member.header_offset,
            stored_bytes=member.compress_size,
            image_bytes=member.file_size,
            compression=member.compress_type,
            crc32=member.CRC,
        )


def _member_problem(member: zipfile.ZipInfo, archive_bytes: int) -> str:
    if member.flag_bits & _ENCRYPTED:
        return "the member is encrypted"
    if member.compress_type not in _READABLE_METHODS:
        return f"compression method {member.compress_type}; only stored (0) and deflated (8) can be read"
    end = member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size
    if member.header_offset < 0 or end > archive_bytes:
        return f"{member.compress_size} bytes at {member.header_offset} are outside the archive of {archive_bytes}"
    if member.file_size >= 1 << 62:
        return f"claims {member.file_size} bytes"
    return ""


def _open_zip(fs: AbstractFileSystem, path: str, images: str, file_names: set[str]) -> _Zip:
    # A remote directory is read in a few large ranges; block_size means nothing to a local file.
    options = {} if isinstance(fs, LocalFileSystem) else {"cache_type": "readahead", "block_size": 1 << 20}
    with fs.open(path, "rb", **options) as file:
        archive_bytes = file.seek(0, os.SEEK_END)
        try:
            with zipfile.ZipFile(file) as archive:
                infos = [member for member in archive.infolist() if _is_image(member)]
        except _TORN as error:
            file.seek(0)
            raise CollectionError(_not_a_zip(images, archive_bytes, file.read(4), error)) from error
    members: defaultdict[str, list[zipfile.ZipInfo]] = defaultdict(list)
    bases: defaultdict[str, list[zipfile.ZipInfo]] = defaultdict(list)
    wanted = Counter(posixpath.basename(name) for name in file_names)
    for member in infos:
        members[member.filename].append(member)
        base = posixpath.basename(member.filename)
        if wanted[base] == 1:
            bases[base].append(member)
    tops = {member.filename.partition("/")[0] for member in infos}
    top = tops.pop() + "/" if len(tops) == 1 else ""
    own_path = path if isinstance(fs, LocalFileSystem) else images
    return _Zip(path=own_path, archive_bytes=archive_bytes, members=dict(members), bases=dict(bases), top=top)


def _is_image(member: zipfile.ZipInfo) -> bool:
    """Neither a folder, nor a link, nor what macOS adds to archives."""
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    return not (member.is_dir() or is_link or member.filename.startswith("__MACOSX/"))


def _not_a_zip(images: str, archive_bytes: int, start: bytes, error: Exception) -> str:
    if start.startswith(b"PK"):
        return f"images {images!r}: a torn zip of {archive_bytes} bytes ({error}); copy or download it again"
    found = f"a file of {archive_bytes} bytes that begins with {start!r}"
    return f"images {images!r}: not a zip but {found}; give a zip or the folder of its files"


def _missing(file_name: str) -> str:
    return f"file_name {_short(file_name)}: no regular file of this name in the folder or archive of images"


def _short(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")
