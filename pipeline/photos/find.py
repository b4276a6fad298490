"""Find the photos that a path or glob names, and name their outputs; no file is read."""

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CollectionError
from pipeline.evaluation.pairs import is_image
from pipeline.files.formats import IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo's file, and the name of its outputs."""

    path: Path
    name: str
    """Path without suffix, relative to the requested folder. `model.seeds.key_of` makes the key of it that, with the
    seed, decides the noise of the members: for images named like COCO's newer ones, their 12-digit id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Photos in the order of their names, and the names of files in the folder that are not photos."""

    photos: tuple[Photo, ...]
    ignored: tuple[str, ...]


def find_photos(named: str) -> Found:
    """Find the photos of a file, a folder (without its sub-folders) or a glob.

    In a folder the suffix decides what is a photo; a file named by itself or by a glob is tried whatever its suffix.

    Raises: CollectionError: there are no photos.
    """
    path = Path(named)
    if path.is_dir():
        files = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
        photos = [file for file in files if is_image(file, IMAGE_SUFFIXES)]
        ignored = tuple(file.name for file in files if not is_image(file, IMAGE_SUFFIXES))
        if not photos:
            found = ", ".join(sorted({file.suffix or "no suffix" for file in files})[:10])
            raise CollectionError(
                f"{named} holds {len(files)} files, none of which ends in {', '.join(IMAGE_SUFFIXES)}"
                + (f"; they end in {found}" if found else "")
            )
        return Found(photos=_photos(photos, path), ignored=ignored)
    if path.exists():
        return Found(photos=_photos([path], path.parent), ignored=())
    # A set, because a glob with two ** finds a file several times.
    matches = sorted({Path(match) for match in glob.glob(named, recursive=True) if os.path.isfile(match)})
    if not matches:
        what = "no file matches this pattern" if glob.has_magic(named) else "no such file or folder"
        raise CollectionError(f"--input-rgb-path {named}: {what}")
    return Found(photos=_photos(matches, _fixed_part(named)), ignored=())


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
