"""The five public test sets of the field: where their folders are, and how many images they have."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CollectionError
from pipeline.evaluation.config import DatasetName
from pipeline.evaluation.pairs import PHOTO_SUFFIXES, is_image

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Facts about a dataset. Case, dashes, underscores and blanks of folder names do not matter."""

    count: int
    """Number of images, as its authors published it."""
    images: tuple[str, ...]
    masks: tuple[str, ...]
    """Folders as published; the usual names in re-packagings are tried next."""
    folders: tuple[str, ...]
    """Names of the folder of the whole dataset."""


# Folders as in the authors' archives (saliencydetection.net; ECSSD's images.zip and ground_truth_mask.zip; HKU-IS'
# imgs and gt; salObj.zip of PASCAL-S), seen in the download scripts and converters of public repositories.
DATASETS: dict[DatasetName, Dataset] = {
    "DUTS-TE": Dataset(
        count=5019,
        images=("DUTS-TE-Image",),
        masks=("DUTS-TE-Mask",),
        folders=("DUTS-TE", "DUTS-Test", "DUTS/DUTS-TE", "DUTS/Test", "DUTS-TE/DUTS-TE", "DUTS-TE/Test"),
    ),
    "DUT-OMRON": Dataset(
        count=5168,
        images=("DUT-OMRON-image", "DUT-OMRON-image/DUT-OMRON-image"),
        masks=(
            "pixelwiseGT-new-PNG",
            "DUT-OMRON-image/pixelwiseGT-new-PNG",
            "DUT-OMRON-gt-pixelwise/pixelwiseGT-new-PNG",
            "DUT-OMRON-gt-pixelwise.zip/pixelwiseGT-new-PNG",
        ),
        folders=("DUT-OMRON", "DUTS-OMRON", "DUT-O", "DUT-OMRON/DUT-OMRON", "DUT-OMRON/Test"),
    ),
    "HKU-IS": Dataset(count=4447, images=("imgs",), masks=("gt",), folders=("HKU-IS", "HKU-IS/HKU-IS", "HKU-IS/Test")),
    "ECSSD": Dataset(
        count=1000, images=("images",), masks=("ground_truth_mask",), folders=("ECSSD", "ECSSD/ECSSD", "ECSSD/Test")
    ),
    "PASCAL-S": Dataset(
        count=850,
        images=("datasets/imgs/pascal",),
        masks=("datasets/masks/pascal",),
        folders=("PASCAL-S", "PASCALS", "salObj", "PASCAL-S/PASCAL-S", "PASCAL-S/salObj", "PASCAL-S/Test"),
    ),
}

USUAL_IMAGES = ("image", "images", "img", "imgs", "im")
USUAL_MASKS = ("mask", "masks", "gt", "gts", "gt-masks", "ground_truth_mask", "ground_truth", "groundtruth")


def find_folders(name: DatasetName, root: Path) -> tuple[Path, Path]:
    """Find the folders of a dataset's photos and masks, below the dataset's folder in `root` or `root` itself.

    Returns: the same folder twice if a re-packaging has both in one.
    Raises:  CollectionError: not found; the message lists the expected folders.
    """
    if not root.is_dir():
        raise CollectionError(
            f"--root {root}: {'this is a file, not a folder' if root.exists() else 'this folder does not exist'}"
        )
    dataset = DATASETS[name]
    bases = (*(folder for path in dataset.folders for folder in _matching(root, path)), root)
    for base in bases:
        found = _in(base, (*dataset.images, *USUAL_IMAGES), (*dataset.masks, *USUAL_MASKS))
        if found is not None:
            log.info("%s: photos in %s, masks in %s", name, *found)
            return found
    raise CollectionError(
        f"{name} is not in {root}: expected the folders {dataset.images[0]} and {dataset.masks[0]} (or such as Imgs "
        f"and GT) there or in {', '.join(dataset.folders)}. For another layout, use --images and --masks"
    )


def _in(base: Path, images: tuple[str, ...], masks: tuple[str, ...]) -> tuple[Path, Path] | None:
    photos = _first(base, images, (".jpg", ".jpeg", ".png"))
    truths = _first(base, masks, (".png", ".bmp", ".jpg"))
    if photos is not None and truths is None and _holds(photos, (".png",)) and _holds(photos, PHOTO_SUFFIXES):
        truths = photos
    return (photos, truths) if photos is not None and truths is not None else None


def _first(base: Path, paths: tuple[str, ...], suffixes: tuple[str, ...]) -> Path | None:
    """The first folder that exists and has images itself, not only in subfolders."""
    folders = (folder for path in paths for folder in _matching(base, path))
    return next((folder for folder in folders if _holds(folder, suffixes)), None)


def _holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(is_image(path, suffixes) for path in folder.iterdir())


def _matching(base: Path, path: str) -> Iterator[Path]:
    """Folders below `base` whose names equal the parts of `path`, ignoring case and dashes."""
    first, _, rest = path.partition("/")
    for folder in sorted(base.iterdir()):
        if _plain(folder.name) == _plain(first) and folder.is_dir():
            if rest:
                yield from _matching(folder, rest)
            else:
                yield folder


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_ "))
