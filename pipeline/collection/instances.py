"""The annotations' own instances, and how far the mask of a salient object agrees with them.

COCO has people's outlines of 80 kinds of things. Where a mask is the union of some of them, two independent sources
agree; where it is not, the object may be of another kind, or the mask wrong. No pixel is drawn before the outline was
found to fit its image: COCO's tools trust what they are given.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pycocotools import mask as coco_mask

from pipeline.collection.coco import parse_document, read_annotation_bytes, text_as_utf8
from pipeline.records import Sample

_LONGEST_OUTLINE_PX = 200_000
"""Of all outlines of one instance: COCO's tools store five points per pixel. An honest one has a few thousand."""
_MOST_PX = 1 << 30
"""Of an image: COCO's tools count them in 32 bits, and do not look whether they got the memory."""
_MOST_PER_IMAGE = 2_000
"""Instances of one image; those of COCO have up to a hundred. What is beyond is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One annotated thing in one image."""

    category: str
    supercategory: str
    counts: str
    """COCO's compressed run lengths of its mask, which fit the size of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """How a mask compares with the instances of its image."""

    instance_iou: float | None
    """Intersection over union of the mask with the best union of instances, in [0, 1]; None if there are none."""
    categories: tuple[str, ...]
    """Of the instances in that union, the one that shares most pixels with the mask first."""
    supercategory: str
    """Of the first of them; "" without any."""


UNCHECKED = CrossCheck(instance_iou=None, categories=(), supercategory="")


def read_instances(annotations: str, samples: Sequence[Sample]) -> dict[str, tuple[Instance, ...]]:
    """Key → the instances of that image, of images that have any. An annotation that is none is left out.

    Args:   samples: whose instances are wanted; with images that could be read, no size is made up.
            860,000 instances, as train2017 has, take 0.6 GB and 2.5 minutes (from 20,000 outlines of 28 corners each).
    Raises: AnnotationError: the file can't be read as JSON.
    """
    sizes = {sample.image_id: sample for sample in samples}
    found: dict[str, list[tuple[int, int, str]]] = {}

    def keep(entry: dict[str, Any]) -> dict[str, Any] | None:
        if "segmentation" not in entry or "image_id" not in entry:
            return entry
        number, category = entry["image_id"], entry.get("category_id")
        sample = sizes.get(number) if type(number) is int else None
        if sample is None or type(category) is not int or len(found.get(sample.key, ())) == _MOST_PER_IMAGE:
            return None
        counts = _counts(entry["segmentation"], sample.height, sample.width)
        if counts:
            order = entry.get("id")
            found.setdefault(sample.key, []).append((order if type(order) is int else 0, category, counts))
        return None

    document = parse_document(annotations, read_annotation_bytes(annotations), keep)
    names = dict(_categories(document.get("categories")))
    return {
        key: tuple(
            Instance(category=names[category][0], supercategory=names[category][1], counts=counts)
            for _, category, counts in sorted(of_image)
            if category in names
        )
        for key, of_image in sorted(found.items())
    }


def digest_of(instances: Mapping[str, Sequence[Instance]]) -> str:
    """SHA-256, in hex, of all that is compared with."""
    digest = hashlib.sha256()
    for key, of_image in instances.items():
        for instance in of_image:
            line = json.dumps([key, instance.category, instance.supercategory, instance.counts])
            digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()


def cross_check(mask: Bool[np.ndarray, "h w"], instances: Sequence[Instance]) -> CrossCheck:
    """Compare a mask with the union of those instances that fits it best.

    For instances that do not overlap the best union is found: to maximise shared / (mask + outside) is a fractional
    programme, so it consists of all instances whose share inside the mask lies above some bound (Dinkelbach 1967,
    doi:10.1287/mnsc.13.7.492). Overlapping ones are counted once, in the same order.
    """
    if not instances:
        return UNCHECKED
    # One at a time, and drawn twice rather than held: a dense photograph has hundreds.
    shared, share = [], []
    for instance in instances:
        drawn = decode_counts(instance.counts, *mask.shape)
        shared.append(int((drawn & mask).sum()))
        share.append(shared[-1] / max(1, int(drawn.sum())))
    order = sorted(range(len(instances)), key=lambda place: (-share[place], -shared[place], place))
    best, chosen, mask_px = 0.0, 0, int(mask.sum())
    union = np.zeros_like(mask)
    for taken, place in enumerate(order, start=1):
        if not shared[place]:
            break  # it and all that follow lie outside
        union |= decode_counts(instances[place].counts, *mask.shape)
        inside = int((union & mask).sum())
        iou = inside / max(1, int(union.sum()) + mask_px - inside)
        if iou > best:
            best, chosen = iou, taken
    used = sorted(order[:chosen], key=lambda place: (-shared[place], place))
    return CrossCheck(
        instance_iou=best,
        categories=tuple(dict.fromkeys(instances[place].category for place in used)),
        supercategory=instances[used[0]].supercategory if used else "",
    )


def decode_counts(counts: str, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The mask that compressed run lengths mean.

    Raises: ValueError: they are none, or not of a mask of that size.
    """
    runs = _run_lengths(counts)
    if runs is None or min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"{counts[:40]!r} … are no run lengths of {height * width} pixels")
    in_mask = np.arange(len(runs)) % 2 == 1  # runs go down the columns, the first is outside
    return np.repeat(in_mask, runs).reshape(width, height).T


def _categories(entries: object) -> Iterator[tuple[int, tuple[str, str]]]:
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and type(entry.get("id")) is int:
            name, above = entry.get("name"), entry.get("supercategory")
            if isinstance(name, str):
                yield entry["id"], (text_as_utf8(name), text_as_utf8(above) if isinstance(above, str) else "")


def _counts(segmentation: object, height: int, width: int) -> str | None:
    """The compressed run lengths of polygons or run lengths; None if they are no mask of that size."""
    if height * width > _MOST_PX:
        return None
    if isinstance(segmentation, list):
        polygons = [_clipped(polygon, height, width) for polygon in segmentation]
        drawable = [polygon for polygon in polygons if polygon is not None]
        if not drawable or len(drawable) != len(segmentation):
            return None
        if sum(map(_outline_px, drawable)) > _LONGEST_OUTLINE_PX:
            return None
        outlines = [polygon.ravel().tolist() for polygon in drawable]
        return _compressed(coco_mask.merge(coco_mask.frPyObjects(outlines, height, width)))
    if not isinstance(segmentation, dict) or segmentation.get("size") != [height, width]:
        return None
    runs = segmentation.get("counts")
    if isinstance(runs, str):
        runs = _run_lengths(runs)
    if not isinstance(runs, list) or not all(type(run) is int and 0 <= run < 2**32 for run in runs):
        return None
    if sum(runs) != height * width:
        return None
    return _compressed(coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width))


def _compressed(rle: Mapping[str, Any]) -> str:
    return str(rle["counts"].decode("ascii"))


def _clipped(polygon: object, height: int, width: int) -> Float[np.ndarray, "n 2"] | None:
    """Corners within the image: COCO's tools walk along every edge, however far out it leads."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return None
    if not all(type(value) in (int, float) and abs(value) < 2**53 for value in polygon):  # NaN is not below it either
        return None
    corners: Float[np.ndarray, "n 2"] = np.array(polygon, dtype=np.float64).reshape(-1, 2).clip(0, (width, height))
    return corners


def _outline_px(corners: Float[np.ndarray, "n 2"]) -> float:
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())


def _run_lengths(text: str) -> list[int] | None:
    """COCO's compressed form, read without COCO's tools, which write beyond a mask whose runs are longer than it.

    Six bits per character, from 48 on: five of the number, lowest first, and one that says whether it goes on; the top
    bit of the last is the sign. From the fourth number on it is the difference to the last but one.
    Source: rleFrString of pycocotools 2.0.11.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift > 60:
                return None
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return None if shift else runs
