"""A folder of images, local or remote: listed once, read file by file."""

import os
import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.collection.collection import NOTHING_SAID, About
from pipeline.collection.config import InputConfig
from pipeline.collection.names import ambiguous, in_form, missing, safe_name, short
from pipeline.collection.places import Place
from pipeline.errors import CollectionError, SampleError
from pipeline.files import urls
from pipeline.files.ranges import read_range
from pipeline.records import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A listed folder. `files` and `links` (symbolic, local only) are relative to `root`, a path or URL.

    `forms` has those whose names are not ASCII, by their names in NFC.
    """

    root: str
    is_local: bool
    files: frozenset[str]
    links: frozenset[str]
    forms: Mapping[str, list[str]]

    holds_images_only = False

    @property
    def found(self) -> str:
        """As `ImageStore.found`."""
        return f"a folder, in which {len(self.files) + len(self.links)} files were listed"

    def names(self) -> Iterator[str]:
        """As `ImageStore.names`; a local folder is walked, whatever was listed."""
        if not self.is_local:
            yield from self.files
            return
        for folder, folders, files in os.walk(self.root):
            folders.sort()
            below = os.path.relpath(folder, self.root)
            yield from (name if below == "." else f"{below}/{name}" for name in sorted(files))

    def locate(self, file_name: str) -> Location:
        """As `ImageStore.locate`."""
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

    def about(self, _name: str) -> About:
        """As `ImageStore.about`: files say nothing of themselves."""
        return NOTHING_SAID

    def _through_link(self, name: str) -> Location:
        root = os.path.realpath(self.root)
        target = os.path.realpath(os.path.join(self.root, name))
        if os.path.commonpath([root, target]) != root:
            raise SampleError("unsafe_path", f"file_name {short(name)} is a link that leads out of the images folder")
        if not os.path.isfile(target):
            raise SampleError("missing", f"file_name {short(name)} is a link that does not lead to a file")
        return Location(path=target)


def is_folder(place: Place) -> bool:
    """Is it a folder?"""
    return place.type == "directory"


def open_folder(place: Place, wanted: Collection[str], _inputs: InputConfig) -> Folder:
    """List a folder of images.

    Args:   wanted: names that will be requested; local folders without any of them are not listed. None: all.
    Raises: CollectionError: it is at a chained URL.
    """
    if place.is_local:
        parents = {in_form(parent) for name in wanted for parent in _parents(name)} if wanted else None
        files, links = _list_local(place.path, parents)
        return Folder(root=place.path, is_local=True, files=files, links=links, forms=_by_form(files | links))
    if "::" in place.given:
        raise CollectionError(f"{place.named()}: a chained URL of a folder; give the folder's own URL, or a zip's")
    root = place.path.rstrip("/") + "/"
    files = frozenset(str(name).removeprefix(root) for name in place.fs.find(place.path))
    return Folder(root=place.given.rstrip("/"), is_local=False, files=files, links=frozenset(), forms=_by_form(files))


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


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
    forms: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        if not name.isascii():
            forms[in_form(name)].append(name)
    return {form: sorted(spelled) for form, spelled in forms.items()}


def _list_local(root: str, wanted: Set[str] | None) -> tuple[frozenset[str], frozenset[str]]:
    """Relative names of regular files and links in `root` and its wanted sub-folders; one listing each, no stat.

    Args: wanted: names of sub-folders, in NFC; None: all.
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
                elif (wanted is None or in_form(name) in wanted) and entry.is_dir():
                    folders.append(name + "/")
    return frozenset(files), frozenset(links)


def _parents(file_name: str) -> list[str]:
    """The folders a relative name passes through: "a/b/c.jpg" gives "a" and "a/b"."""
    parts = posixpath.normpath(file_name).split("/") if "/" in file_name else [file_name]
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _size(fs: AbstractFileSystem, path: str) -> str:
    size_bytes = None
    with suppress(Exception):  # an HTTP server may not tell
        size_bytes = fs.size(path)
    return "too many bytes" if size_bytes is None else f"{size_bytes} bytes"
