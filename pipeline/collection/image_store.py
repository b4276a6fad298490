"""Find the bytes of each image: in a folder or a zip, local or remote, listed once and never unpacked.

This module decides which file or archive member belongs to a `file_name` of the annotations, and ensures that no name
leaves the images folder. It reads no image: `images.read_bytes` does, from the `Location` found here. Messages about an
image go into a manifest, so they name no path of this machine, and are the same for a folder and for a zip of it.
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

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import CollectionError, SampleError, UsageError
from pipeline.files import urls
from pipeline.records import Location
from pipeline.shown import shown

CANNOT_OPEN = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError)
"""What opening a path raises when the path is wrong, rather than the machine."""

_DRIVE = re.compile(r"[A-Za-z]:")
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1 | 0x40
_READABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Errors that `zipfile` was seen to raise for archives with flipped bytes; OverflowError: offsets beyond 2^63.
_TORN = (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, EOFError, IndexError)


class ImageStore(Protocol):
    """A folder or archive of images, listed once."""

    def locate(self, file_name: str) -> Location:
        """Find the bytes of `file_name`.

        Raises: SampleError: `unsafe_path`, `missing`, or `unreadable` (ambiguous, encrypted, unknown compression).
        """


def open_store(images: str, file_names: Iterable[str]) -> ImageStore:
    """List a folder of images, or read the central directory of a zip of them.

    Args:   images: local path or fsspec URL of a folder or a zip.
            file_names: all names that will be requested; folders without any of them are not listed.
    Raises: CollectionError: nothing exists at `images`, or it is neither a folder nor a whole zip.
    """
    try:
        fs, path = urls.resolve(images, chained=True)
        path.encode("utf-8")  # a plan stores paths as text
        kind = fs.info(path)["type"]
        if kind == "directory":
            return _open_folder(fs, path, images, set(file_names))
        if kind == "file":
            return _open_zip(fs, path, images, set(file_names))
    except CollectionError:
        raise
    except UsageError as error:
        raise CollectionError(f"images {error}") from error
    except CANNOT_OPEN as error:
        raise CollectionError(f"{_named(images)}: {error}; give an existing folder or zip that can be read") from error
    raise CollectionError(f"{_named(images)}: its type is {kind!r}; give a folder of images or a zip of them")


def safe_name(file_name: str) -> str:
    """`file_name` in normal form: relative, "/" between its parts, without "." parts.

    Raises: SampleError: `unsafe_path`: the name may lead out of its folder. "::" and "://" are refused because the URL
            of the folder joined with such a name would mean another place.
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
    """A listed folder. `files` and `links` (symbolic, local only) are relative to `root`, a path or URL."""

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
            raise SampleError("missing", f"file_name {_short(name)} is a link that does not lead to a file")
        return Location(path=target)


def _open_folder(fs: AbstractFileSystem, path: str, images: str, file_names: set[str]) -> _Folder:
    if isinstance(fs, LocalFileSystem):
        files, links = _list_local(path, {parent for name in file_names for parent in _parents(name)})
        return _Folder(root=path, files=files, links=links)
    if "::" in images:
        raise CollectionError(f"{_named(images)}: a chained URL of a folder; give the folder's own URL, or a zip's")
    root = path.rstrip("/") + "/"
    files = frozenset(str(name).removeprefix(root) for name in fs.find(path))
    return _Folder(root=images.rstrip("/"), files=files, links=frozenset())


def _list_local(root: str, wanted: set[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Relative names of regular files and links in `root` and its wanted sub-folders; one listing each, no stat."""
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

    `top` is the one folder that holds all members, with its "/", or "". `bases` maps a basename to its members, only if
    a single wanted name has that basename, so that images in different folders never share a member.
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
    # A remote central directory is read in a few large ranges; local files ignore block_size.
    options = {} if isinstance(fs, LocalFileSystem) else {"cache_type": "readahead", "block_size": 1 << 20}
    with fs.open(path, "rb", **options) as file:
        archive_bytes = file.seek(0, os.SEEK_END)
        try:
            with zipfile.ZipFile(file) as archive:
                infos = [member for member in archive.infolist() if _may_be_image(member)]
        except _TORN as error:
            file.seek(0)
            raise CollectionError(_not_a_zip(images, archive_bytes, file.read(2), error)) from error
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


def _may_be_image(member: zipfile.ZipInfo) -> bool:
    """Is it neither a folder, nor a link, nor a file that macOS adds to archives?"""
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    return not (member.is_dir() or is_link or member.filename.startswith("__MACOSX/"))


def _not_a_zip(images: str, archive_bytes: int, start: bytes, error: Exception) -> str:
    if start == b"PK":
        return f"{_named(images)}: a torn zip of {archive_bytes} bytes ({error}); copy or download it again"
    found = f"a file of {archive_bytes} bytes"
    return f"{_named(images)}: not a zip but {found}; give a zip or a folder of images"


def _named(images: str) -> str:
    return f"images {shown(images)!r}"


def _missing(file_name: str) -> str:
    return f"file_name {_short(file_name)}: no regular file of this name in the folder or archive of images"


def _short(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")
