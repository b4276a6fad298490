"""Kinds of images that figures are given for separately, told by what a release says of them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.sources import Runs

BY_SIZE, BY_BORDER, BY_PARTS = "object size", "border", "parts of the mask"
BY_SUPERCATEGORY, BY_VARIANCE = "supercategory", "ensemble_variance_per_area"
MEANINGS = {
    BY_SIZE: "pixels of the mask: small below 32², medium below 96², as COCO has it",
    BY_BORDER: "whether the mask reaches the border of the image",
    BY_PARTS: "that touch nowhere, not even at corners",
    BY_SUPERCATEGORY: "of the annotated instance with the most pixels in the mask",
    BY_VARIANCE: "quarters of the images, the surest first; it tells how hard an image was for the model that drew the "
    "masks",
}
_SMALL_PX, _MEDIUM_PX = 32**2, 96**2
"""Source: COCO's evaluation, Lin et al., ECCV 2014, and `areaRng` of pycocotools."""
_NO_OBJECT = "no object"
_UNKNOWN = "unknown"
_QUARTERS = ("1st quarter", "2nd quarter", "3rd quarter", "4th quarter")
Strata = Mapping[str, Mapping[str, str]]
"""Kind → key → stratum."""


def strata_of(rows: Mapping[str, Mapping[str, Any]], masks: Mapping[str, Runs]) -> Strata:
    """Tell each image's strata, except by parts, which are counted where masks are drawn.

    Args:   rows: key → row of the manifest. masks: key → mask, of the same images.
    Returns: kinds of which nothing is known are left out.
    """
    by_size = {key: _size(mask) for key, mask in masks.items()}
    empty = {key for key, size in by_size.items() if size == _NO_OBJECT}
    border = {key: "reaches it" if (row["border"] or 0) > 0 else "does not" for key, row in rows.items()}
    supercategories = {key: row["supercategory"] or _UNKNOWN for key, row in rows.items()}
    strata = {
        BY_SIZE: by_size,
        BY_BORDER: border | dict.fromkeys(empty, _NO_OBJECT),
        BY_VARIANCE: _quarters({key: row["ensemble_variance_per_area"] for key, row in rows.items()}),
    }
    if set(supercategories.values()) != {_UNKNOWN}:
        strata[BY_SUPERCATEGORY] = supercategories
    return strata


def parts_in_words(parts: int) -> str:
    """The stratum of a mask of so many parts."""
    return _NO_OBJECT if not parts else str(parts) if parts < 3 else "3 or more"


def in_order(strata: Sequence[str]) -> list[str]:
    """Names of strata as a table has them."""
    order = ("small", "medium", "large", "1", "2", "3 or more", *_QUARTERS)
    last = (_NO_OBJECT, _UNKNOWN)
    return sorted(strata, key=lambda name: (last.index(name) + 1 if name in last else 0, *_place(name, order), name))


def _place(name: str, order: Sequence[str]) -> tuple[int]:
    return (order.index(name) if name in order else len(order),)


def _size(mask: Runs) -> str:
    from pycocotools import mask as coco_mask

    area_px = int(coco_mask.area({"size": [mask.height_px, mask.width_px], "counts": mask.counts.encode()}))
    if not area_px:
        return _NO_OBJECT
    return "small" if area_px < _SMALL_PX else "medium" if area_px < _MEDIUM_PX else "large"


def _quarters(values: Mapping[str, float | None]) -> dict[str, str]:
    """Key → quarter; equal values are ordered by key, so that quarters are of one size."""
    known = sorted((value, key) for key, value in values.items() if value is not None)
    quarters = {key: _QUARTERS[4 * place // len(known)] for place, (_, key) in enumerate(known)}
    return dict.fromkeys(values, _UNKNOWN) | quarters
