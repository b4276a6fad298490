"""Find the photos that a path or glob names, and name their outputs; no file is read."""

import glob
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.errors import CollectionError
from pipeline.evaluation.pairs import is_image
from pipeline.files.formats import IMAGE_SUFFIXES

_log = logging.getLogger(__name__)
MOST_COUNTED = 10_000
_OF_PROGRAMS = ("__MACOSX", "@eaDir")
"""Folders that macOS adds to archives and Synology's disks to folders: their files are named like the photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo's file, and the name of its outputs."""

    path: Path
    name: str
    """Path without suffix, relative to the requested folder. `model.seeds.key_of` makes the key of it that, with the
    seed, decides the noise of the members: for images named like COCO's newer ones, their 12-digit id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Photos in the order of their names, and what else a folder holds."""

    photos: tuple[Photo, ...]
    ignored: tuple[str, ...] = ()
    """Names of files that are not photos, relative to the folder."""
    in_subfolders: int = 0
    """Photos in subfolders, which were not asked for; at most `MOST_COUNTED` are counted."""


def from_home(path: str) -> str:
    """The path with the home folder for a "~" that no shell has replaced, as in --output-dir=~/masks.

    A file or folder that is really called "~" keeps its name.
    """
    return path if os.path.lexists(path.partition("/")[0]) else os.path.expanduser(path)


def find_photos(
    named: str, *, recursive: bool = False, outputs: Path | None = None, option: str = "--input-rgb-path"
) -> Found:
    """Find the photos of a file, a folder or a glob.

    In a folder the suffix decides what is a photo; a file named by itself or by a glob is tried whatever its suffix.

    Args:   recursive: look into a folder's subfolders too.
            outputs: a folder that is not looked into, wherever it lies. option: what named the photos, for messages.
    Raises: CollectionError: there are no photos, the folder can't be listed, or `recursive` is asked of a glob.
    """
    path = Path(named)
    if path.is_dir():
        return _in_folder(path, recursive, outputs, option)
    if path.exists():
        return Found(photos=_photos([path], path.parent))
    if recursive and glob.has_magic(named):
        raise CollectionError(f"{option} {named}: --recursive is for folders; in a pattern, ** means subfolders")
    # A set, because a glob with two ** finds a file several times.
    matches = sorted({Path(match) for match in glob.glob(named, recursive=True) if os.path.isfile(match)})
    if not matches:
        what = "no file matches this pattern" if glob.has_magic(named) else "no such file or folder"
        raise CollectionError(f"{option} {named}: {what}")
    return Found(photos=_photos(matches, _fixed_part(named)))


def _in_folder(folder: Path, recursive: bool, outputs: Path | None, option: str) -> Found:
    try:
        files = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    except OSError as error:
        raise CollectionError(f"{option} {folder}: can't be listed ({error.strerror or error})") from error
    below = _below(folder, outputs.resolve() if outputs else None, warn=recursive)
    if recursive:
        files += (file for file in below if file.is_file())
    files.sort()
    photos = [file for file in files if _is_photo(file)]
    in_subfolders = 0 if recursive else sum(1 for _ in islice(filter(_is_photo, below), MOST_COUNTED))
    if not photos:
        found = ", ".join(sorted({file.suffix or "no suffix" for file in files})[:10])
        raise CollectionError(
            f"{folder} holds {len(files)} files, none of which ends in {', '.join(IMAGE_SUFFIXES)}"
            + (f"; they end in {found}" if found else "")
            + (f"; its subfolders hold {in_subfolders} photos, which --recursive reads" if in_subfolders else "")
        )
    ignored = tuple(file.relative_to(folder).as_posix() for file in files if not _is_photo(file))
    return Found(photos=_photos(photos, folder), ignored=ignored, in_subfolders=in_subfolders)


def _is_photo(file: Path) -> bool:
    return is_image(file, IMAGE_SUFFIXES)


def _below(top: Path, outputs: Path | None, *, warn: bool) -> Iterator[Path]:
    """The names in the subfolders of a folder, but hidden ones, those of programs, and the outputs.

    Links to folders are not followed: they may lead round in a circle, or anywhere.
    """
    links = []
    for folder, subfolders, files in os.walk(top, onerror=_warn if warn else None):
        here = Path(folder)
        kept = [name for name in subfolders if not name.startswith(".") and name not in _OF_PROGRAMS]
        links += [here / name for name in kept if (here / name).is_symlink()]
        subfolders[:] = [name for name in kept if (here / name).resolve() != outputs]
        if here != top:
            yield from (here / name for name in files if not name.startswith("."))
    if links and warn:
        _log.warning("%d links to folders are not followed, %s for example", len(links), min(links))


def _warn(error: OSError) -> None:
    _log.warning("the folder %s can't be listed and is left out: %s", error.filename, error.strerror)


def _photos(files: list[Path], root: Path) -> tuple[Photo, ...]:
    return tuple(Photo(path=file, name=file.relative_to(root).with_suffix("").as_posix()) for file in files)


def _fixed_part(pattern: str) -> Path:
    """The folders of a glob before its first wildcard; below them, outputs keep the folders of their photos."""
    parts = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)
