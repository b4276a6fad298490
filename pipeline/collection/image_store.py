"""Find the bytes of each image: in a folder or a zip, local or remote, listed once and never unpacked.

This module decides which file belongs to a `file_name` of the annotations (`zips.py` which member of an archive), and
ensures that no name leaves the images folder. It reads no image: `images.read_bytes` does, from the `Location` found
here. Messages about an image go into a manifest, so they name no path of this machine, and are the same for a folder
and for a zip of it.
"""

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Protocol

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.collection.names import ambiguous, in_form, missing, safe_name, short
from pipeline.collection.zips import Zip, open_zip
from pipeline.errors import CollectionError, SampleError, UsageError
from pipeline.files import urls
from pipeline.files.connections import connected
from pipeline.records import Location
from pipeline.shown import shown

CANNOT_OPEN = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError)
"""What opening a path raises when the path is wrong, rather than the machine."""


class ImageStore(Protocol):
    """A folder or archive of images, listed once."""

    def locate(self, file_name: str) -> Location:
        """Find the bytes of `file_name`.

        Raises: SampleError: `unsafe_path`, `missing`, or `unreadable` (ambiguous, encrypted, unknown compression).
        """


def names_in(images: str, limit: int) -> list[str]:
    """Names of files in a folder, up to three folders deep, or in a zip; at most `limit`, for messages.

    Raises: as `open_store`.
    """
    store = open_store(images, [])
    if isinstance(store, Zip):
        return [name for _, name in zip(range(limit), sorted(store.members), strict=False)]
    if urls.is_local(images):
        return _walked(store.root, limit)
    return sorted(store.files)[:limit]


def open_store(images: str, file_names: Iterable[str]) -> "Zip | _Folder":
    """List a folder of images, or read the central directory of a zip of them.

    Args:   images: local path or fsspec URL of a folder or a zip.
            file_names: all names that will be requested; folders without any of them are not listed.
    Raises: CollectionError: nothing exists at `images`, or it is neither a folder nor a whole zip.
            StorageUnavailableError: its server can't be reached.
    """
    try:
        fs, path = urls.resolve(images, chained=True)
        path.encode("utf-8")  # a plan stores paths as text
        with connected(_named(images), fs):
            kind = fs.info(path)["type"]
            if kind == "directory":
                return _open_folder(fs, path, images, set(file_names))
            if kind == "file":
                return open_zip(fs, path, images, set(file_names))
    except CollectionError:
        raise
    except UsageError as error:
        raise CollectionError(f"images {error}") from error
    except CANNOT_OPEN as error:
        raise CollectionError(f"{_named(images)}: {error}; give an existing folder or zip that can be read") from error
    raise CollectionError(f"{_named(images)}: its type is {kind!r}; give a folder of images or a zip of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A listed folder. `files` and `links` (symbolic, local only) are relative to `root`, a path or URL.

    `forms` has those whose names are not ASCII, by their names in NFC.
    """

    root: str
    files: frozenset[str]
    links: frozenset[str]
    forms: Mapping[str, list[str]]

    def locate(self, file_name: str) -> Location:
        name = safe_name(file_name)
        if name in self.files:
            return Location(path=posixpath.join(self.root, name))
        if self.links and (name in self.links or any(parent in self.links for parent in _parents(name))):
            return self._through_link(name)
        spelled = self.forms.get(in_form(name), [])
        if len(spelled) > 1:
            raise ambiguous(file_name, "files", spelled)
        if spelled:
            return self.locate(spelled[0])
        raise missing(file_name)

    def _through_link(self, name: str) -> Location:
        root = os.path.realpath(self.root)
        target = os.path.realpath(os.path.join(self.root, name))
        if os.path.commonpath([root, target]) != root:
            raise SampleError("unsafe_path", f"file_name {short(name)} is a link that leads out of the images folder")
        if not os.path.isfile(target):
            raise SampleError("missing", f"file_name {short(name)} is a link that does not lead to a file")
        return Location(path=target)


def _open_folder(fs: AbstractFileSystem, path: str, images: str, file_names: set[str]) -> _Folder:
    if isinstance(fs, LocalFileSystem):
        files, links = _list_local(path, {in_form(parent) for name in file_names for parent in _parents(name)})
        return _Folder(root=path, files=files, links=links, forms=_by_form(files | links))
    if "::" in images:
        raise CollectionError(f"{_named(images)}: a chained URL of a folder; give the folder's own URL, or a zip's")
    root = path.rstrip("/") + "/"
    files = frozenset(str(name).removeprefix(root) for name in fs.find(path))
    return _Folder(root=images.rstrip("/"), files=files, links=frozenset(), forms=_by_form(files))


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
    forms: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        if not name.isascii():
            forms[in_form(name)].append(name)
    return {form: sorted(spelled) for form, spelled in forms.items()}


def _list_local(root: str, wanted: Set[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Relative names of regular files and links in `root` and its wanted sub-folders; one listing each, no stat.

    Args: wanted: names of sub-folders, in NFC.
    """
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
                elif in_form(name) in wanted and entry.is_dir():
                    folders.append(name + "/")
    return frozenset(files), frozenset(links)


def _parents(file_name: str) -> list[str]:
    """The folders a relative name passes through: "a/b/c.jpg" gives "a" and "a/b"."""
    parts = posixpath.normpath(file_name).split("/") if "/" in file_name else [file_name]
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _walked(root: str, limit: int) -> list[str]:
    """Relative names of the first files that a walk finds, up to three folders deep."""
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        below = os.path.relpath(folder, root)
        found += [name if below == "." else f"{below}/{name}" for name in sorted(files)]
        if len(found) >= limit:
            break
        folders[:] = sorted(folders) if below.count("/") < 2 else []
    return found[:limit]


def _named(images: str) -> str:
    return f"images {shown(images)!r}"
