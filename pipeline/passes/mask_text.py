"""A mask as a text that a column can hold: COCO's compressed run lengths at the image's size, as JSON. Pure.

`{"size":[480,640],"counts":"…"}` is what `pycocotools.mask.decode` takes. Equal masks give equal texts.
"""

import json

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as coco_mask

from pipeline.collection.outlines import read_run_lengths


def mask_to_text(mask: Bool[np.ndarray, "h w"]) -> str:
    """Encode a mask."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))  # pycocotools refuses C order
    stored = {"size": [int(side) for side in mask.shape], "counts": rle["counts"].decode("ascii")}
    return json.dumps(stored, separators=(",", ":"))


def mask_from_text(text: str, height_px: int, width_px: int) -> Bool[np.ndarray, "h w"]:
    """Read what `mask_to_text` wrote of an image of this size.

    Raises: ValueError, TypeError, KeyError, RecursionError: it is not that.
    """
    stored = json.loads(text)
    if stored["size"] != [height_px, width_px]:
        raise ValueError(f"its size is {stored['size']!r}, the image's [{height_px}, {width_px}]")
    runs = read_run_lengths(stored["counts"])
    # COCO's own decoder writes past the end of the mask where runs are longer than it.
    if runs is None or min(runs, default=0) < 0 or sum(runs) != height_px * width_px:
        raise ValueError(f"its run lengths are not those of {height_px} x {width_px} pixels")
    is_inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_inside, runs).reshape(width_px, height_px).T
