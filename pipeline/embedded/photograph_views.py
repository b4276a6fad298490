"""Training pairs cut from labelled photographs: many views of each, to make the most of few photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.embedded.composite_store import Request, claim, is_complete, plan_parts, publish_recipe, write_part
from pipeline.embedded.effects import Rng, jitter_colours, photograph
from pipeline.embedded.material import Pixels
from pipeline.embedded.photographs import read_labelled
from pipeline.progress.stages import say

VIEWS_VERSION = 1  # raise it when the same arguments give other bytes
MIN_VIEW = 0.5
"""Smallest side of a view, as a share of the photograph's side."""
MIN_KEPT = 0.7
"""Share of a mask that a crop must keep: people may not call salient what remains of a cut object."""
CROP_ATTEMPTS = 10
PLAIN_SHARE = 0.4
"""Share of views that keep their photograph's colours and sharpness."""


def make_view(pixels: Pixels, mask: Pixels, rng: Rng, px: int) -> tuple[Pixels, Pixels]:
    """A crop squeezed to a square like the model's inputs, sometimes mirrored or with other colours.

    Args:    pixels: uint8 [h, w, 3]; mask: uint8 [h, w].
    Returns: image uint8 [px, px, 3]; mask uint8 [px, px].
    """
    left, top, right, bottom = _draw_crop(mask, rng)
    image, target = (
        np.asarray(
            Image.fromarray(x[top:bottom, left:right]).resize((px, px), Image.Resampling.BICUBIC, reducing_gap=3)
        )
        for x in (pixels, mask)
    )
    if rng.random() < 0.5:
        image, target = image[:, ::-1], target[:, ::-1]
    if rng.random() >= PLAIN_SHARE:
        image = photograph(jitter_colours(image.astype(np.float32), rng), rng)
    return np.ascontiguousarray(image), np.ascontiguousarray(target)


def write_views(
    labelled: Sequence[Path],
    sources: Sequence[dict[str, Any]],
    request: Request,
    out: Path,
) -> None:
    """Write `request.count` views in the format of `composite_store`; view i shows photograph i modulo their number.

    Raises: RunMismatchError: `out` was begun with other photographs, another seed, size or version.
    """
    recipe = {"seed": request.seed, "px": request.px, "views": VIEWS_VERSION, "sources": list(sources)}
    recipe["photographs"] = [path.stem for path in labelled]
    out.mkdir(parents=True, exist_ok=True)
    claim(out, recipe)
    parts = plan_parts(request, out)
    for number, part in enumerate(parts, start=1):
        if not is_complete(part):
            views = range(part.first, part.first + part.samples)
            write_part(part, (_view_of(labelled, request, index) for index in views))
        say(f"{part.masks.name} ({number} of {len(parts)} parts)")
    publish_recipe(out, {**recipe, "count": request.count})


def _view_of(labelled: Sequence[Path], request: Request, index: int) -> tuple[Pixels, Pixels]:
    pixels, mask = read_labelled(labelled[index % len(labelled)])
    return make_view(pixels, mask, np.random.default_rng([request.seed, index]), request.px)


def _draw_crop(mask: Pixels, rng: Rng) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a crop that keeps most of the mask; the whole photograph if none is found."""
    height, width = mask.shape
    total = int(mask.sum(dtype=np.int64))
    for _ in range(CROP_ATTEMPTS):
        crop_height, crop_width = (round(side * float(rng.uniform(MIN_VIEW, 1))) for side in (height, width))
        top, left = int(rng.integers(height - crop_height + 1)), int(rng.integers(width - crop_width + 1))
        kept = mask[top : top + crop_height, left : left + crop_width].sum(dtype=np.int64)
        if kept >= MIN_KEPT * total:
            return left, top, left + crop_width, top + crop_height
    return 0, 0, width, height
