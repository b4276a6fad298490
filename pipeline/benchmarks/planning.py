"""Finding the images of a collection and cutting its plan: time, and memory of the driver, by kind of place."""

import gc
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.benchmarks.benchmark import Case, PlaceKind, Result, at_least_one, not_empty, table_head
from pipeline.collection.config import InputConfig

WIDTH, HEIGHT = 64, 48
SHARD_IMAGES = 64
"""Images per shard: a run's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """Finding the images of a collection and planning their shards, with annotations and without: time, and memory of
    the driver."""

    images: int = 118_287
    """Number of images, in tars and parquet files of 1,000. They are small: only headers are read."""
    places: tuple[PlaceKind, ...] = ("folder", "zip", "tars", "parquet")
    """Kinds of places that the images are in."""

    def __post_init__(self) -> None:
        at_least_one(self, "images")
        not_empty(self, "places")

    def cases(self) -> list[Case]:
        """Each kind of place with annotations and without."""
        return [
            {"images": self.images, "place": place, "annotated": annotated}
            for place in self.places
            for annotated in (True, False)
        ]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head("images", "in", "found and planned", "again", "most memory", "held per image")
        for result in results:
            annotated = "with" if result["annotated"] else "without"
            yield (
                f"| {result['images']:,} | {result['place']}, {annotated} annotations | {result['seconds']:.1f} s "
                f"| {result['again_s']:.1f} s | {result['peak_bytes'] / 1e6:.0f} MB "
                f"| {result['held_bytes'] / result['images']:.0f} B |"
            )


def measure(folder: Path, *, images: int, place: PlaceKind, annotated: bool) -> dict[str, Any]:
    """Plan a run twice: from nothing, and with what the first session kept. Files were just written, so no disk waits.

    `held_bytes` are those of the samples and of all that belongs to them, which a driver keeps until its end.
    """
    from pipeline.benchmarks.inputs import MADE_WITH
    from pipeline.collection.gather import read_collection
    from pipeline.collection.kept import Kept
    from pipeline.replicas.usage import peak_rss_bytes
    from pipeline.runs.run_file import open_run

    # In a process of its own, whose memory is not counted.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        inputs = pool.submit(_make, folder, images, place).result()
    inputs = inputs if annotated else replace(inputs, annotations="")
    run, seconds = str(folder / "run"), []
    for _ in range(2):
        started = time.perf_counter()
        kept = Kept(run)
        samples = read_collection(inputs, kept).samples
        open_run(run, samples, SHARD_IMAGES, MADE_WITH)
        kept.write()
        seconds.append(time.perf_counter() - started)
        assert len(samples) == images
        assert not any(sample.problem for sample in samples)
    peak_bytes = peak_rss_bytes()
    return {
        "images": images,
        "place": place,
        "annotated": annotated,
        "seconds": seconds[0],
        "again_s": seconds[1],
        "peak_bytes": peak_bytes,
        "held_bytes": _held_bytes(samples),
    }


def _held_bytes(samples: Sequence[Any]) -> int:
    """Size of the samples and of everything that they refer to, each object once."""
    seen: dict[int, int] = {}
    waiting = [*samples]
    while waiting:
        found = waiting.pop()
        if id(found) not in seen and not isinstance(found, type):
            seen[id(found)] = sys.getsizeof(found)
            waiting.extend(gc.get_referents(found))
    return sum(seen.values())


def _make(folder: Path, images: int, place: PlaceKind) -> InputConfig:
    from pipeline.benchmarks.inputs import make_collection, packed

    return packed(make_collection(folder, images, WIDTH, HEIGHT), place)
