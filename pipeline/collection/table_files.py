"""The files of a place that holds tables: a table, or a folder of parquet files as repositories have them."""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.collection.places import PATTERN, Place
from pipeline.files.formats import IMAGE_SUFFIXES, format_of

PARQUET_SUFFIX = ".parquet"
_OTHER_SUFFIXES = (*IMAGE_SUFFIXES, ".tar", ".zip")
_DEEPEST = 2
_MOST_FOLDERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """One file of a place."""

    name: str
    """Relative name without its suffix."""
    path: str
    """What a `Location` has: a path on the local disk, or a URL."""
    is_parquet: bool = True


def is_parquet(place: Place) -> bool:
    """Is it a file of parquet?"""
    return format_of(place.start) == "Parquet"


def own_file(place: Place) -> TableFile:
    """A place that is one file; what follows the name in its URL is no part of it, and may be a signature."""
    path = place.path if place.is_local else place.path.partition("?")[0]
    return TableFile(name=_stem(posixpath.basename(path)), path=place.own_path)


def parquet_files(place: Place) -> tuple[list[TableFile], bool]:
    """The parquet files of a place in the order of their names: itself, those of a pattern, or of a folder and two
    levels below it.

    Returns: the files, and whether there are images or archives beside them. Where images come first, the search ends
             without files: a folder of images is not listed twice.
    """
    if place.type == PATTERN:
        named = place.files(PARQUET_SUFFIX)
        return [TableFile(name=_stem(file.name), path=file.own_path) for file in named], False
    if place.type != "directory":
        return [own_file(place)], False
    found: list[str] = []
    has_others = False
    level = [""]
    for _ in range(_DEEPEST + 1):
        below: list[str] = []
        for folder in level[:_MOST_FOLDERS]:
            files, folders = _listed(place, folder)
            found += [name for name in files if name.endswith(PARQUET_SUFFIX)]
            has_others |= _has(files, _OTHER_SUFFIXES)
            if has_others and not found:
                return [], True
            below += folders
        level = sorted(below)
    root = place.own_path.rstrip("/")
    return [TableFile(name=_stem(name), path=f"{root}/{name}") for name in sorted(found)], has_others


def _listed(place: Place, folder: str) -> tuple[Sequence[str], Sequence[str]]:
    """Relative names of files and of folders in a folder of the place, which ends with "/" or is ""."""
    path = posixpath.join(place.path, folder).rstrip("/")
    if place.is_local:
        names = [folder + name for name in os.listdir(path) if not name.startswith(".")]
        if _has(names, _OTHER_SUFFIXES) and not _has(names, (PARQUET_SUFFIX,)):
            return names, []  # a folder of images: its many other files are not asked whether they are folders
        maybe = [name for name in names if not name.lower().endswith(_OTHER_SUFFIXES)]  # asked one by one
        folders = {name for name in maybe if os.path.isdir(os.path.join(place.path, name))}
        return [name for name in names if name not in folders], [f"{name}/" for name in folders]
    root = place.path.rstrip("/") + "/"
    entries = place.fs.ls(path, detail=True)
    named = [(str(entry["name"]).rstrip("/").removeprefix(root), entry["type"]) for entry in entries]
    seen = [(name, kind) for name, kind in named if not posixpath.basename(name).startswith(".")]
    return [name for name, kind in seen if kind == "file"], [f"{name}/" for name, kind in seen if kind == "directory"]


def _has(names: Sequence[str], suffixes: tuple[str, ...]) -> bool:
    return any(name.lower().endswith(suffixes) for name in names)


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]
