"""A mask as a text that a column can hold: COCO's compressed run lengths at the image's size, as JSON. Pure.

`{"size":[480,640],"counts":"…"}` is what `pycocotools.mask.decode` takes. Equal masks give equal texts.
"""

import json
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as coco_mask

from pipeline.collection.outlines import read_run_lengths


class Rle(TypedDict):
    """COCO's compressed run lengths, which pycocotools takes; only `checked_rle` makes one of what others wrote."""

    size: list[int]
    """Height and width in pixels."""
    counts: str


def rle_of(mask: Bool[np.ndarray, "h w"]) -> Rle:
    """Compute the run lengths of a mask."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))  # pycocotools refuses C order
    return Rle(size=[int(side) for side in mask.shape], counts=rle["counts"].decode("ascii"))


def checked_rle(value: Any, height_px: int, width_px: int) -> Rle:
    """Read run lengths that others wrote of an image of this size.

    Raises: ValueError, TypeError, KeyError: they are not that.
    """
    _runs_of(value, height_px, width_px)
    return Rle(size=[height_px, width_px], counts=value["counts"])


def mask_to_text(mask: Bool[np.ndarray, "h w"]) -> str:
    """Encode a mask."""
    return json.dumps(rle_of(mask), separators=(",", ":"))


def mask_from_text(text: str, height_px: int, width_px: int) -> Bool[np.ndarray, "h w"]:
    """Read what `mask_to_text` wrote of an image of this size.

    Raises: ValueError, TypeError, KeyError, RecursionError: it is not that.
    """
    return _pixels(_runs_of(json.loads(text), height_px, width_px), height_px, width_px)


def pixels_of(rle: Rle) -> Bool[np.ndarray, "h w"]:
    """The mask of checked run lengths."""
    height_px, width_px = rle["size"]
    return _pixels(_runs_of(rle, height_px, width_px), height_px, width_px)


def _pixels(runs: list[int], height_px: int, width_px: int) -> Bool[np.ndarray, "h w"]:
    is_inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_inside, runs).reshape(width_px, height_px).T


def _runs_of(value: Any, height_px: int, width_px: int) -> list[int]:
    if value["size"] != [height_px, width_px]:
        raise ValueError(f"its size is {value['size']!r}, the image's [{height_px}, {width_px}]")
    runs = read_run_lengths(value["counts"])
    # COCO's own decoder writes past the end of the mask where runs are longer than it.
    if runs is None or min(runs, default=0) < 0 or sum(runs) != height_px * width_px:
        raise ValueError(f"its run lengths are not those of {height_px} x {width_px} pixels")
    return runs
