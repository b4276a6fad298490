"""Labelled photographs as training pairs on disk, in the format of `composite_store`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.embedded.composite_store import Request, claim, is_complete, plan_parts, publish_recipe, write_part
from pipeline.embedded.material import Pixels
from pipeline.embedded.photographs import read_labelled
from pipeline.progress.stages import say

PAIRS_VERSION = 2  # raise it when the same arguments give other bytes


def make_pair(pixels: Pixels, mask: Pixels, px: int) -> tuple[Pixels, Pixels]:
    """A whole photograph squeezed to a square, like the model's inputs.

    Args:    pixels: uint8 [h, w, 3]; mask: uint8 [h, w].
    Returns: image uint8 [px, px, 3]; mask uint8 [px, px].
    """
    image, target = (
        np.asarray(Image.fromarray(x).resize((px, px), Image.Resampling.BICUBIC, reducing_gap=3))
        for x in (pixels, mask)
    )
    return image, target


def recipe_of(sha256s: Sequence[str], sources: Sequence[dict[str, Any]], px: int) -> dict[str, Any]:
    """All that the pairs' bytes depend on: the photographs by their digests, in their order."""
    return {"px": px, "pairs": PAIRS_VERSION, "sources": list(sources), "photographs": list(sha256s)}


def write_pairs(labelled: Sequence[Path], sources: Sequence[dict[str, Any]], px: int, out: Path) -> None:
    """Write a pair for each photograph, in their order.

    Raises: RunMismatchError: `out` was begun with other photographs, another size or version.
    """
    recipe = recipe_of([path.stem for path in labelled], sources, px)
    out.mkdir(parents=True, exist_ok=True)
    claim(out, recipe)
    parts = plan_parts(Request(count=len(labelled), seed=0, px=px), out)
    for number, part in enumerate(parts, start=1):
        if not is_complete(part):
            chosen = labelled[part.first : part.first + part.samples]
            write_part(part, (make_pair(*read_labelled(path), px) for path in chosen))
        say(f"{part.masks.name} ({number} of {len(parts)} parts)")
    publish_recipe(out, {**recipe, "count": len(labelled)})
