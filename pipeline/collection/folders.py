"""A folder of images, local or remote: listed once, read file by file."""

import logging
import os
import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.collection.collection import NOTHING_SAID, About
from pipeline.collection.config import InputConfig
from pipeline.collection.names import NameIndex, in_form, index_names, relative_name, short, starts_of
from pipeline.collection.places import Place
from pipeline.errors import CollectionError, SampleError
from pipeline.files import urls
from pipeline.files.ranges import read_range
from pipeline.records import Location

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A listed folder. Names are relative to `root`, a path or URL."""

    root: str
    there: frozenset[str]
    """Names of files and of links to files; also below links to folders that may be followed."""
    links: frozenset[str]
    """Those that are symbolic links; only a local folder has any."""
    closed: frozenset[str]
    """Links to folders elsewhere, which are not followed."""
    follow_links: bool
    index: NameIndex

    holds_images_only = False

    @property
    def found(self) -> str:
        """As `ImageStore.found`."""
        links = f", {len(self.links)} of them symbolic links" if self.links else ""
        return f"a folder, in which {len(self.there)} files were listed{links}"

    def names(self) -> Iterable[str]:
        """As `ImageStore.names`."""
        return self.there

    def locate(self, file_name: str) -> Location:
        """As `ImageStore.locate`."""
        asked = relative_name(file_name, self.index.starts) if self.closed else ""
        if any(parent in self.closed for parent in _parents(asked)):
            return self._through_link(asked)
        name = self.index.find(file_name)
        return self._through_link(name) if name in self.links else Location(path=posixpath.join(self.root, name))

    def about(self, _name: str) -> About:
        """As `ImageStore.about`: files say nothing of themselves."""
        return NOTHING_SAID

    def _through_link(self, name: str) -> Location:
        target = os.path.realpath(os.path.join(self.root, name))
        if not self.follow_links and not _is_inside(target, os.path.realpath(self.root)):
            raise SampleError(
                "unsafe_path",
                f"file_name {short(name)} is a link that leads out of the images folder; --follow-links reads it",
            )
        if not os.path.isfile(target):
            raise SampleError("missing", f"file_name {short(name)} is a link that does not lead to a file")
        return Location(path=target)


def is_folder(place: Place) -> bool:
    """Is it a folder?"""
    return place.type == "directory"


def open_folder(place: Place, wanted: Collection[str], inputs: InputConfig) -> Folder:
    """List a folder of images.

    Args:   wanted: names that will be requested. While all of them are where they say, local folders without any of
                    them are not listed. None: all.
    Raises: CollectionError: it is at a chained URL.
    """
    links = closed = frozenset[str]()
    if place.is_local:
        root = place.path
        there, links, closed = _listed_local(root, wanted, inputs.follow_links)
    elif "::" in place.given:
        raise CollectionError(f"{place.named()}: a chained URL of a folder; give the folder's own URL, or a zip's")
    else:
        root, start = place.given.rstrip("/"), place.path.rstrip("/") + "/"
        there = frozenset(str(name).removeprefix(start) for name in place.fs.find(place.path))
    return Folder(
        root=root,
        there=there,
        links=links,
        closed=closed,
        follow_links=inputs.follow_links,
        index=index_names(there, wanted, root),
    )


def _listed_local(
    root: str, wanted: Collection[str], follow_links: bool
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """As `_list_local`: as much as the wanted names need."""
    relative = list(_relative(wanted, root))
    parents = {in_form(parent) for name in relative for parent in _parents(name)}
    there, links, closed = _list_local(root, parents, follow_links, whole=not wanted)
    if not all(name in there for name in relative):
        there, links, closed = _list_local(root, parents, follow_links, whole=True)
    if closed:
        log.warning(
            "%d links lead to folders outside of %s and are not followed, %r for example; --follow-links follows them",
            *(len(closed), root, min(closed)),
        )
    return there, links, closed


def read_file(location: Location, label: str, max_bytes: int, first: int | None = None) -> bytes:
    """Read an image that is a file of its own. As the readers of `stores.READERS`."""
    fs, path = urls.resolve(location.path, chained=True)
    is_local = isinstance(fs, LocalFileSystem)
    try:
        if first is not None:
            return read_range(fs, path, 0, first)
        # One byte over the limit shows that the file is too large. A local read is capped at the file's size because
        # Python allocates as much as requested: 64 MiB per image took 0.08 of the 0.13 ms of reading one.
        limit = min(max_bytes, os.path.getsize(path)) if is_local else max_bytes
        image_bytes = read_range(fs, path, 0, limit + 1)
    except FileNotFoundError as error:
        if is_local and not os.path.isdir(os.path.dirname(path)):
            raise  # the folder has disappeared, unmounted perhaps: that says nothing about its images
        raise SampleError("missing", f"{label}: the file has disappeared since the collection was listed") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise SampleError("unreadable", f"{label}: {error.strerror or type(error).__name__}") from error
    except PermissionError as error:
        if not is_local:
            raise  # expired credentials concern the whole run
        raise SampleError("unreadable", f"{label}: {error.strerror or type(error).__name__}") from error
    if len(image_bytes) > max_bytes:
        raise SampleError("too_many_bytes", f"{label}: {_size(fs, path)}; the limit is {max_bytes}")
    return image_bytes


def _relative(wanted: Iterable[str], root: str) -> Iterator[str]:
    """The wanted names relative to the folder; those that may lead out of it are left out."""
    starts = starts_of(root)
    for name in wanted:
        with suppress(SampleError):
            yield relative_name(name, starts)


def _list_local(
    root: str, parents: Set[str], follow_links: bool, *, whole: bool
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """List `root` and the folders of wanted names, or all of it: one listing for each folder, and no stat of a file.

    A folder to which a link leads is listed under the name of the link if names ask for it, or if it is outside of
    `root` and of the folders on the way to the link: what is inside is listed there.
    Args:    parents: names of folders in which wanted names lie, in NFC.
    Returns: files and links to files; those that are links; links to folders that are not followed.
    """
    there, links, closed = set(), set(), set()
    folders: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while folders:
        folder, way = folders.pop()
        for entry in _entries(root, folder, is_needed=not folder or in_form(folder[:-1]) in parents):
            name, is_link = folder + entry.name, entry.is_symlink()
            if not _is_folder(entry):
                if is_link or entry.is_file():
                    there.add(name)
                if is_link:
                    links.add(name)
            elif whole or in_form(name) in parents:
                if not is_link:
                    folders.append((name + "/", way))
                    continue
                target = os.path.realpath(entry.path)
                if not follow_links and not _is_inside(target, way[0]):
                    closed.add(name)
                elif in_form(name) in parents or not _overlaps(target, way):
                    folders.append((name + "/", (*way, target)))
    return frozenset(there), frozenset(links), frozenset(closed)


def _entries(root: str, folder: str, *, is_needed: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            return list(entries)
    except PermissionError as error:
        if is_needed:
            raise
        log.warning("the folder %r can't be listed and is left out: %s", folder, error.strerror)
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # links that lead in a circle
        return entry.is_dir()
    return False


def _overlaps(target: str, way: Sequence[str]) -> bool:
    """Is a folder inside one of those on the way to the link that leads to it, or around one? Then links go round."""
    return any(_is_inside(target, folder) or _is_inside(folder, target) for folder in way)


def _is_inside(path: str, folder: str) -> bool:
    return os.path.commonpath([folder, path]) == folder


def _parents(file_name: str) -> list[str]:
    """The folders a relative name passes through: "a/b/c.jpg" gives "a" and "a/b"."""
    parts = posixpath.normpath(file_name).split("/") if "/" in file_name else [file_name]
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _size(fs: AbstractFileSystem, path: str) -> str:
    size_bytes = None
    with suppress(Exception):  # an HTTP server may not tell
        size_bytes = fs.size(path)
    return "too many bytes" if size_bytes is None else f"{size_bytes} bytes"
