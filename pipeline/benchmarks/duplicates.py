"""Joining a collection with itself and with test sets by stored embeddings: time and memory."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.benchmarks.benchmark import Case, Result, at_least_one, table_head

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Finding the near-duplicates of a collection by its embeddings, for several numbers of images."""

    images: tuple[int, ...] = (10_000, 30_000, 123_287)
    """Numbers of images: all of COCO's training and validation images of 2017 are 123,287."""
    test_images: int = 14_000
    """Images of test sets: about as many as the five usual ones have."""
    copies: float = 0.02
    """Share of images that are nearly those before them."""

    def __post_init__(self) -> None:
        at_least_one(self, "images", "test_images")

    def cases(self) -> list[Case]:
        """One case per number of images."""
        return [{"images": images, "test_images": self.test_images, "copies": self.copies} for images in self.images]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head(
            "images", "time", "CPU time", "per image", "laid over, per image", "peak memory", "copies found"
        )
        for result in results:
            yield (
                f"| {result['images']:,} | {result['seconds']:.0f} s | {result['cpu_s']:.0f} s "
                f"| {1e3 * result['cpu_s'] / result['images']:.2f} ms of CPU | {result['overlaid']:.1f} "
                f"| {result['peak_bytes'] / 1e9:.2f} GB | {result['found']:,} of {result['planted']:,} |"
            )


def measure(folder: Path, *, images: int, test_images: int, copies: float) -> dict[str, Any]:
    """Write the embeddings of synthetic images as a pass stores them, then read and join them as `duplicates` does."""
    import numpy as np

    from pipeline.passes.duplicates.join import Compared, Joined
    from pipeline.passes.duplicates.overlay import SIDE_PX
    from pipeline.passes.duplicates.thumbnails import FREQUENCIES
    from pipeline.replicas.usage import peak_rss_bytes

    draw = np.random.default_rng(0)
    length = _SHOWN + FREQUENCIES**2
    vectors, thumbnails = _made(draw, images, copies, length, SIDE_PX)
    planted = round(copies * images)
    others = _made(draw, test_images, 0, length, SIDE_PX)
    names = [f"{number:012d}" for number in range(max(images, test_images))]
    started, cpu_started = time.perf_counter(), time.process_time()
    run = Compared.of(names[:images], vectors, thumbnails)
    sets = Compared.of(names[:test_images], *others)
    del vectors
    joined = Joined(run, sets, 0.8)
    found = overlaid = 0
    for key in run.keys:
        answer = joined.of(key)
        found += answer.first is not None
        overlaid += answer.overlaid
    return {
        "images": images,
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu_started,
        "overlaid": overlaid / images,
        "peak_bytes": peak_rss_bytes(),
        "planted": planted,
        "found": found,
    }


_SHOWN = 352
"""Channels of the embedded model's backbone."""
_SCENES = 3_000
"""Kinds of scenes whose images are alike: so many that about as many images are laid over each other as photographs
of one collection are."""


def _made(
    draw: "np.random.Generator", images: int, copies: float, length: int, side_px: int
) -> "tuple[np.ndarray, np.ndarray]":
    """Vectors around those of scenes, and thumbnails of coarse noise; the last images are copies, slightly changed."""
    import numpy as np

    from pipeline.passes.duplicates.vectors import LARGEST_NORM, STORED

    scenes = np.random.default_rng(1).standard_normal((_SCENES, length), np.float32)
    vectors = scenes[draw.integers(_SCENES, size=images)] + 0.6 * draw.standard_normal((images, length), np.float32)
    coarse = draw.integers(0, 256, (images, side_px // 4, side_px // 4), np.int16)
    thumbnails = (4 * coarse).repeat(4, axis=1).repeat(4, axis=2).reshape(images, -1)
    planted = round(copies * images)
    if planted:
        vectors[-planted:] = vectors[:planted] + 0.1 * draw.standard_normal((planted, length), np.float32)
        thumbnails[-planted:] = thumbnails[:planted]
    scale = (LARGEST_NORM - length**0.5 / 2) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.rint(vectors * scale).astype(STORED), thumbnails.astype(STORED)
