"""Two folders of files → pairs by name. A name without its other half is a wrong request, never left out silently."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CollectionError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""What counts as an image in a folder."""
PHOTO_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One image of an evaluation."""

    name: str
    """File name without suffix, the same for both."""
    source: Path
    """The saliency map, or the photo that is to be predicted; absolute."""
    mask: Path
    """The mask it is measured against; absolute."""


def pair_files(sources: Path, masks: Path, count: int | None = None, *, mixed: bool = False) -> tuple[Pair, ...]:
    """Pair the files of two folders by their names without suffix; sorted by name.

    Args:   count: how many there must be, if that is known.
            mixed: the folder of masks has the photos too, as some re-packagings do: JPEGs are photos, PNGs masks.
    Raises: CollectionError: a folder is missing or has no images, two files have the same name but for the suffix, a
                             file has no partner, or there are not `count`. The message names folders and files.
    """
    found = files_by_name(sources, PHOTO_SUFFIXES if sources == masks else SUFFIXES)
    wanted = files_by_name(masks, (".png",) if mixed or sources == masks else SUFFIXES)
    _refuse_unpaired(found, sources, wanted, masks)
    if count is not None and len(wanted) != count:
        raise CollectionError(
            f"{masks} has {len(wanted)} masks and {sources} a file for each; there must be {count}. "
            f"If these are the right ones: --count {len(wanted)}"
        )
    return tuple(
        Pair(name=name, source=found[name].absolute(), mask=wanted[name].absolute()) for name in sorted(wanted)
    )


def files_by_name(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Path]:
    """Name without suffix → image file of a folder; hidden files and those of other suffixes are left out.

    Raises: CollectionError: there is no such folder, no image in it, or two of one name.
    """
    if not folder.is_dir():
        raise CollectionError(f"{folder}: {'this is a file' if folder.exists() else 'there is no such folder'}")
    files = sorted(path for path in folder.iterdir() if is_image(path, suffixes))
    by_name: dict[str, Path] = {}
    for path in files:
        if path.stem in by_name:
            raise CollectionError(
                f"{folder} has {by_name[path.stem].name} and {path.name}: which of them is meant? Remove one"
            )
        by_name[path.stem] = path
    if not by_name:
        raise CollectionError(f"{folder} has no image: no file in it ends in {', '.join(suffixes)}")
    return by_name


def is_image(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Is it an image by its name? macOS leaves hidden `._` twins of images behind."""
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def _refuse_unpaired(found: Mapping[str, Path], sources: Path, wanted: Mapping[str, Path], masks: Path) -> None:
    lonely = [(wanted, masks, found, sources), (found, sources, wanted, masks)]
    for files, folder, others, other_folder in lonely:
        without = sorted(files.keys() - others.keys())
        if without:
            example = f"{folder / files[without[0]].name} has none (it would be called {without[0]}.*)"
            raise CollectionError(
                f"{len(without)} of {len(files)} files in {folder} have no partner in {other_folder}: {example}; "
                f"all of them: {reprlib.repr(without)}"
            )
