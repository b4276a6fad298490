"""Pair the files of two folders by name. A file without a partner is an error, never skipped silently."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CollectionError
from pipeline.evaluation.sources import Source

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Suffixes of the files that count as images."""
PHOTO_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One image of an evaluation."""

    name: str
    """File name without suffix, the same for both; or the key of an image of a release."""
    source: Source | None
    """The saliency map, or the photo to predict; paths are absolute. None: there is no map."""
    mask: Source
    """The mask to measure against."""

    @property
    def photo(self) -> Path:
        """The photo to predict."""
        if not isinstance(self.source, Path):
            raise TypeError(f"{self.name} is not paired with a photo")
        return self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePair(Pair):
    """A pair of files."""

    source: Path
    mask: Path


def pair_files(sources: Path, masks: Path, count: int | None = None, *, mixed: bool = False) -> tuple[FilePair, ...]:
    """Pair the files of two folders by their names without suffix, sorted by name.

    Args:   count: expected number of pairs, if known.
            mixed: the folder of masks also holds the photos, as in some re-packagings: JPEGs are photos, PNGs masks.
    Raises: CollectionError: a folder is missing or has no images, two names differ only in their suffix, a file has no
                             partner, or the number is not `count`. The message names folders and files.
    """
    found = files_by_name(sources, PHOTO_SUFFIXES if sources == masks else SUFFIXES)
    wanted = files_by_name(masks, (".png",) if mixed or sources == masks else SUFFIXES)
    _refuse_unpaired(found, sources, wanted, masks)
    if count is not None and len(wanted) != count:
        raise CollectionError(
            f"{masks} has {len(wanted)} masks and {sources} a file for each; there must be {count}. "
            f"If these are the right folders, use --count {len(wanted)}"
        )
    return tuple(
        FilePair(name=name, source=found[name].absolute(), mask=wanted[name].absolute()) for name in sorted(wanted)
    )


def files_by_name(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Path]:
    """List the images of a folder: name without suffix → file. Hidden files and other suffixes are skipped.

    Raises: CollectionError: the folder does not exist, has no image, or two images have the same name.
    """
    if not folder.is_dir():
        raise CollectionError(
            f"{folder}: {'this is a file, not a folder' if folder.exists() else 'this folder does not exist'}"
        )
    files = sorted(path for path in folder.iterdir() if is_image(path, suffixes))
    by_name: dict[str, Path] = {}
    for path in files:
        if path.stem in by_name:
            raise CollectionError(
                f"{folder} has {by_name[path.stem].name} and {path.name}, which differ only in their suffix; remove one"
            )
        by_name[path.stem] = path
    if not by_name:
        raise CollectionError(f"{folder} has no image: no file in it ends in {', '.join(suffixes)}")
    return by_name


def is_image(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Check by its name whether a file is an image. macOS leaves hidden `._` twins of images behind."""
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def _refuse_unpaired(found: Mapping[str, Path], sources: Path, wanted: Mapping[str, Path], masks: Path) -> None:
    lonely = [(wanted, masks, found, sources), (found, sources, wanted, masks)]
    for files, folder, others, other_folder in lonely:
        without = sorted(files.keys() - others.keys())
        if without:
            example = f"{folder / files[without[0]].name} has none (expected {without[0]}.*)"
            raise CollectionError(
                f"{len(without)} of {len(files)} files in {folder} have no partner in {other_folder}: {example}; "
                f"all: {reprlib.repr(without)}"
            )
