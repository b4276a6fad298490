"""Many composites on disk, written in parts by several processes, so that a kill only costs the unfinished parts.

Owns the files of a folder of training pairs, composites or photographs, and its recipe.
`pipeline.embedded.composites` makes a single composite; `pipeline.embedded.data` reads them for a training.
"""

import io
import json
import multiprocessing
import multiprocessing.process
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from pipeline.embedded.composites import RECIPE_VERSION, make_composite
from pipeline.embedded.material import Group, Material, Pixels
from pipeline.errors import PipelineError, RunMismatchError
from pipeline.files.storage import publish
from pipeline.made_with import differences, refusal
from pipeline.progress.stages import say

PART_SAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which composites to make: all that their bytes depend on, apart from the material and the code."""

    count: int
    seed: int
    px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPlan:
    """What one part is made of. The material is not in it: each process holds it once, in `_MATERIAL`."""

    images: Path
    masks: Path
    seed: int
    px: int
    first: int
    samples: int


_MATERIAL: list[Material] = []  # set once per worker


def write_composites(material: Material, request: Request, out: Path, workers: int) -> dict[str, Any]:
    """Write the composites in parts of `PART_SAMPLES`, skipping finished parts; `recipe.json` comes last.

    A part is a pair of raw .npy files, `part-00000.images.npy` uint8 [n, px, px, 3] and `part-00000.masks.npy` uint8
    [n, px, px]. They can be memory-mapped and read in any order without unpacking and, unlike a zip, hold no time
    stamps. The masks are published after the images, so a part that has its masks is complete.
    Returns: the recipe: what was made, from which archives, under which licences.
    Raises:  RunMismatchError: `out` was begun with another seed, size, material or version.
             PipelineError: a worker was killed.
    """
    recipe = describe(material, request)
    out.mkdir(parents=True, exist_ok=True)
    claim(out, {name: value for name, value in recipe.items() if name != "count"})
    missing = [part for part in plan_parts(request, out) if not is_complete(part)]
    _write_parts(material, missing, workers)
    publish_recipe(out, recipe)
    return recipe


def describe(material: Material, request: Request) -> dict[str, Any]:
    """The recipe: everything that the composites' bytes depend on, and the licences."""
    sources = [_describe_group(group) for group in material.groups]
    versions = {"recipe": RECIPE_VERSION, "numpy": np.__version__, "pillow": PIL.__version__}
    return {**asdict(request), "versions": versions, "sources": sources}


def plan_parts(request: Request, out: Path) -> list[PartPlan]:
    """All parts of the composites; only the last one may be shorter."""
    parts = []
    for number, first in enumerate(range(0, request.count, PART_SAMPLES)):
        images, masks = (out / f"part-{number:05d}.{kind}.npy" for kind in ("images", "masks"))
        samples = min(PART_SAMPLES, request.count - first)
        part = PartPlan(images=images, masks=masks, seed=request.seed, px=request.px, first=first, samples=samples)
        parts.append(part)
    return parts


def draw_preview(material: Material, seed: int, px: int) -> Image.Image:
    """The first 48 composites, each beside its mask, in 8 rows of 6, to look at before a training."""
    sheet = Image.new("RGB", (12 * px, 8 * px))
    for index in range(48):
        image, mask = make_composite(material, seed, index, px)
        at = (index % 6 * 2 * px, index // 6 * px)
        sheet.paste(Image.fromarray(image), at)
        sheet.paste(Image.fromarray(mask), (at[0] + px, at[1]))
    return sheet


def _describe_group(group: Group) -> dict[str, Any]:
    return {**asdict(group.source), "archive": group.archive, "sha256": group.sha256, "used": len(group.pictures)}


def publish_recipe(out: Path, recipe: dict[str, Any]) -> None:
    """Mark the folder as complete, and say what the composites were made from."""
    publish(str(out / "recipe.json"), _as_json(recipe))


def _as_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode()


def claim(out: Path, request: dict[str, Any], *, begin: bool = True) -> None:
    """Refuse a folder that was begun with another request: parts of two recipes must not mix.

    Args:   begin: store the request, so that the folder is begun with it. Without it, nothing is written.
    Raises: RunMismatchError: the folder was begun with another request.
    """
    path = out / "request.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if found := differences({name: before.get(name) for name in request}, request):
            raise RunMismatchError(refusal(f"{out} was begun with something else", found, "Use another folder"))
    if begin:
        publish(str(path), _as_json(request))


def is_complete(part: PartPlan) -> bool:
    """Whether the part has both its files, of the full length: an earlier, smaller `count` leaves a shorter part."""
    if not (part.images.is_file() and part.masks.is_file()):
        return False
    shapes = [np.load(path, mmap_mode="r", allow_pickle=False).shape for path in (part.images, part.masks)]
    return shapes == [(part.samples, part.px, part.px, 3), (part.samples, part.px, part.px)]


def _write_parts(material: Material, parts: list[PartPlan], workers: int) -> None:
    # Fresh processes ("spawn"), not copies of this one ("fork", the default on Linux before Python 3.14): numpy, torch
    # and progress bars start threads, and a fork of a process with threads can deadlock (Python warns since 3.12).
    # The price: the pictures, 0.4 GB, are sent to every worker instead of being shared.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        max(1, workers), mp_context=context, initializer=_start_worker, initargs=(material,)
    ) as pool:
        try:
            for number, part in enumerate(pool.map(_write_composites, parts), start=1):
                say(f"{part.masks.name} ({number} of {len(parts)} parts)")
        except BrokenProcessPool as error:
            raise PipelineError(
                "a process that makes composites was killed, perhaps because memory ran out. "
                "Finished parts are kept: run the same command again to resume; fewer --workers need less memory"
            ) from error


def _start_worker(material: Material) -> None:
    _MATERIAL[:] = [material]
    parent = multiprocessing.parent_process()
    # If the parent is killed, a worker would wait for work for ever, holding all its pictures.
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _write_composites(part: PartPlan) -> PartPlan:
    indices = range(part.first, part.first + part.samples)
    write_part(part, (make_composite(_MATERIAL[0], part.seed, index, part.px) for index in indices))
    return part


def write_part(part: PartPlan, pairs: Iterable[tuple[Pixels, Pixels]]) -> None:
    """Publish a part's images, then its masks; `pairs` has one [px, px, 3] and one [px, px] for each sample."""
    images = np.empty((part.samples, part.px, part.px, 3), dtype=np.uint8)
    masks = np.empty((part.samples, part.px, part.px), dtype=np.uint8)
    for number, pair in enumerate(pairs):
        images[number], masks[number] = pair
    for path, samples in ((part.images, images), (part.masks, masks)):
        buffer = io.BytesIO()
        np.save(buffer, samples, allow_pickle=False)
        publish(str(path), buffer.getvalue())
