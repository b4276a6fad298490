"""Many composites on disk: written in parts by several processes, so that a kill costs the parts in work.

Owns: the files of a folder of composites and its recipe. One composite is `pipeline.embedded.composites`; reading
them for a training is `pipeline.embedded.data`.
"""

import io
import json
import multiprocessing
import multiprocessing.process
import os
import threading
from collections.abc import Callable, Iterable
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

PART_SAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which composites: all that their bytes depend on beside the material and the code."""

    count: int
    seed: int
    px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one part is made of; the material comes from the process (`_MATERIAL`), not with each part."""

    images: Path
    masks: Path
    seed: int
    px: int
    first: int
    samples: int


_MATERIAL: list[Material] = []  # set once per worker


def write_composites(
    material: Material, request: Request, out: Path, workers: int, report: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Write the composites in parts of `PART_SAMPLES`, skipping parts that are there; `recipe.json` comes last.

    A part is a pair of raw .npy files, `part-00000.images.npy` uint8 [n, px, px, 3] and `part-00000.masks.npy` uint8
    [n, px, px]: they can be memory-mapped and shuffled over without being unpacked, and, unlike a zip, have no time
    stamps. The masks are published after the images, so a part whose masks are there is complete.
    Returns: the recipe: what was made, from which archives, under which licences.
    Raises:  RunMismatchError: `out` was begun with another seed, size, material or version.
             PipelineError: a worker was killed.
    """
    recipe = describe(material, request)
    out.mkdir(parents=True, exist_ok=True)
    claim(out, {name: value for name, value in recipe.items() if name != "count"})
    missing = [part for part in plan_parts(request, out) if not is_there(part)]
    _write_parts(material, missing, workers, report)
    publish_recipe(out, recipe)
    return recipe


def describe(material: Material, request: Request) -> dict[str, Any]:
    """The recipe: everything that the composites' bytes depend on, and what their licences are."""
    sources = [_describe_group(group) for group in material.groups]
    versions = {"recipe": RECIPE_VERSION, "numpy": np.__version__, "pillow": PIL.__version__}
    return {**asdict(request), "versions": versions, "sources": sources}


def plan_parts(request: Request, out: Path) -> list[Part]:
    """All parts of the composites; only the last one may be shorter."""
    parts = []
    for number, first in enumerate(range(0, request.count, PART_SAMPLES)):
        images, masks = (out / f"part-{number:05d}.{kind}.npy" for kind in ("images", "masks"))
        samples = min(PART_SAMPLES, request.count - first)
        parts.append(Part(images=images, masks=masks, seed=request.seed, px=request.px, first=first, samples=samples))
    return parts


def draw_preview(material: Material, seed: int, px: int) -> Image.Image:
    """The first 48 composites, each beside its mask, in 8 rows of 6: to be looked at before a training."""
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
    """Say that all parts are there, and what they were made of."""
    publish(str(out / "recipe.json"), _as_json(recipe))


def _as_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode()


def claim(out: Path, request: dict[str, Any]) -> None:
    """Refuse a folder that was begun with another request; parts of two recipes must not mix.

    Raises: RunMismatchError: it was.
    """
    path = out / "request.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if found := differences({name: before.get(name) for name in request}, request):
            raise RunMismatchError(refusal(f"{out} was begun with something else", found, "Use another folder"))
    publish(str(path), _as_json(request))


def is_there(part: Part) -> bool:
    """Whether the part is complete: both files, and not ended early by a smaller `count` of before."""
    if not (part.images.is_file() and part.masks.is_file()):
        return False
    shapes = [np.load(path, mmap_mode="r", allow_pickle=False).shape for path in (part.images, part.masks)]
    return shapes == [(part.samples, part.px, part.px, 3), (part.samples, part.px, part.px)]


def _write_parts(material: Material, parts: list[Part], workers: int, report: Callable[[str], None]) -> None:
    # Clean processes ("spawn"), not copies of this one ("fork", Linux' default before Python 3.14): forking a process
    # that has threads, as numpy, torch or a progress bar start them, can deadlock the copy, and warns since Python
    # 3.12. The price: the pictures, 0.4 GB, are sent to every worker instead of being shared.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        max(1, workers), mp_context=context, initializer=_start_worker, initargs=(material,)
    ) as pool:
        try:
            for number, part in enumerate(pool.map(_write_composites, parts), start=1):
                report(f"{part.masks.name} ({number} of {len(parts)} parts)")
        except BrokenProcessPool as error:
            raise PipelineError(
                "a process that makes composites was killed, for want of memory perhaps; hint: fewer workers. "
                "The parts that are complete are kept: the same command goes on"
            ) from error


def _start_worker(material: Material) -> None:
    _MATERIAL[:] = [material]
    parent = multiprocessing.parent_process()
    # A worker of a killed parent would wait for work, with all its pictures, for ever.
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _write_composites(part: Part) -> Part:
    indices = range(part.first, part.first + part.samples)
    write_part(part, (make_composite(_MATERIAL[0], part.seed, index, part.px) for index in indices))
    return part


def write_part(part: Part, pairs: Iterable[tuple[Pixels, Pixels]]) -> None:
    """Publish a part's images, then its masks; `pairs` has one [px, px, 3] and one [px, px] for each sample."""
    images = np.empty((part.samples, part.px, part.px, 3), dtype=np.uint8)
    masks = np.empty((part.samples, part.px, part.px), dtype=np.uint8)
    for number, pair in enumerate(pairs):
        images[number], masks[number] = pair
    for path, samples in ((part.images, images), (part.masks, masks)):
        buffer = io.BytesIO()
        np.save(buffer, samples, allow_pickle=False)
        publish(str(path), buffer.getvalue())
