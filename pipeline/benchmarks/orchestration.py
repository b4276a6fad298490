"""What everything around the model costs: the same images through the pipeline, Ray Data, and plain loops."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from model.config import EnsembleConfig, ModelConfig, at_least
from pipeline.benchmarks.benchmark import Case, PlaceKind, Result, at_least_one, table_head
from pipeline.collection.config import InputConfig
from pipeline.config import ClusterConfig, RunConfig
from pipeline.extras import require_extra

if TYPE_CHECKING:
    from pipeline.benchmarks.segment import Segment

SHARD_IMAGES = 64
"""Images per shard: a run's default, which Ray Data is told to put into a tar as well."""
BATCH_IMAGES = 4
Batch = Sequence[tuple[str, bytes]]
"""Keys and files of images."""
WARM_UP_IMAGES = 2 * SHARD_IMAGES
"""Images of a run before the measured ones: imports and the connection to Ray are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestration:
    """What everything around the model costs: images/s of one replica with the fake model, in the pipeline on Ray and
    in one process, through Ray Data, and in plain loops of one thread: over files, and over webdataset's own loader.
    """

    images: int = 2_048
    """Images of each size. A run of a quarter as many is subtracted, which removes start-up time."""
    widths_px: tuple[int, ...] = (64, 640)
    """Widths of the images; heights are three quarters of them."""
    rounds: int = 3
    """How often each way is measured, in turn."""
    ensemble_size: int = 3
    """Members per image, at least 2. The fake model draws them, and that time is part of the rates."""
    kind: PlaceKind = "folder"
    """Where the pipeline reads the images. Ray Data and the plain loop read a folder, webdataset's loader tars."""

    def __post_init__(self) -> None:
        at_least_one(self, "widths_px", "rounds")
        at_least(self, 4, "images")
        at_least(self, 2, "ensemble_size")

    def cases(self) -> list[Case]:
        """Every way of doing the work, one after the other, round by round.

        Raises: ConfigError: the packages of Ray Data are not installed.
        """
        require_extra("dev", "pandas")
        common = {"images": self.images, "ensemble_size": self.ensemble_size, "kind": self.kind}
        return [
            {**common, "width": width, "height": width * 3 // 4, "way": way}
            for width, _, way in product(self.widths_px, range(self.rounds), _WAYS)
        ]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per size and way: medians over the rounds."""
        yield from table_head(
            "images", "way", "images/s of a replica", "lowest to highest", "against Ray Data", "CPU per image", "start"
        )
        rows = defaultdict[tuple[int, int, str], list[Result]](list)
        for result in results:
            rows[result["width"], result["height"], result["way"]].append(result)
        for (width, height, way), same in rows.items():
            rates = [result["images_per_s"] for result in same]
            theirs = median(result["images_per_s"] for result in rows[width, height, "ray data"])
            start_s = median(result["start_s"] for result in same)
            cpu = "in other processes" if way in _ON_RAY else f"{1e3 * median(r['cpu_s'] for r in same):.2f} ms"
            yield (
                f"| {width} x {height} px | {way} | {median(rates):.0f} | {min(rates):.0f} to {max(rates):.0f} "
                f"| {median(rates) / theirs:.2f} | {cpu} | {start_s:.1f} s |"
            )


def measure(
    folder: Path, *, images: int, width: int, height: int, ensemble_size: int, kind: PlaceKind, way: str
) -> dict[str, Any]:
    """Images/s of one replica, from the difference between a run of all images and one of a quarter of them.

    The difference leaves out the start of a replica. The times at which tars are written would mislead: Ray Data writes
    most of its tars at the end, when the CPU cores that its other stages hold become free.

    Returns: with `cpu_s`, processor time per image of this process, which does not depend on who else uses the cores.
             On Ray others do the work.
    """
    from pipeline.benchmarks.inputs import VARIANTS, make_photo, packed, write_collection
    from pipeline.benchmarks.runs import cluster

    photos = [make_photo(number, width, height) for number in range(VARIANTS)]
    seconds, cpu_seconds = {}, {}
    with cluster(wanted=way in _ON_RAY):
        for part, count in (("warm-up", WARM_UP_IMAGES), ("quarter", images // 4), ("whole", images)):
            where = folder / part
            inputs = write_collection(where, photos, count, width, height)
            inputs = packed(inputs, _READS.get(way, kind))
            started, cpu_started = time.perf_counter(), time.process_time()
            _WAYS[way](where, inputs, ensemble_size)
            seconds[part] = time.perf_counter() - started
            cpu_seconds[part] = time.process_time() - cpu_started
    rate = (images - images // 4) / (seconds["whole"] - seconds["quarter"])
    return {
        "way": way,
        "width": width,
        "height": height,
        "images": images,
        "images_per_s": rate,
        "cpu_s": (cpu_seconds["whole"] - cpu_seconds["quarter"]) / (images - images // 4),
        "start_s": seconds["whole"] - images / rate,
    }


def _in_pipeline(folder: Path, inputs: InputConfig, ensemble_size: int, engine: Literal["ray", "inline"]) -> None:
    from pipeline.benchmarks.runs import carry_out

    config = RunConfig(
        out=str(folder / "run"),
        input=inputs,
        model=ModelConfig(model="fake"),
        ensemble=EnsembleConfig(ensemble_size=ensemble_size, batch_images=BATCH_IMAGES),
        cluster=ClusterConfig(engine=engine, replicas=1),
        shard_size=SHARD_IMAGES,
    )
    carry_out(config)


def _in_ray_data(folder: Path, inputs: InputConfig, ensemble_size: int) -> None:
    from pipeline.benchmarks.ray_data import write_tars

    shards = -(-len(_paths(inputs)) // SHARD_IMAGES)
    tars = str(folder / "tars")
    write_tars(inputs.images, tars, shards=shards, ensemble_size=ensemble_size, batch_images=BATCH_IMAGES)


def _in_a_loop(folder: Path, inputs: InputConfig, ensemble_size: int) -> None:
    """The bare work in one thread: no reading ahead, no writing behind, no care that files are whole."""
    from pipeline.benchmarks.segment import Segment

    segment, paths = Segment(ensemble_size), _paths(inputs)
    for start in range(0, len(paths), SHARD_IMAGES):
        with (folder / f"{start:06d}.tar").open("wb") as file:
            _write_tar(file, segment, _batches(_of_files(paths[start : start + SHARD_IMAGES])))


def _with_webdataset(folder: Path, inputs: InputConfig, ensemble_size: int) -> None:
    """The same over the tars that webdataset's loader reads."""
    import webdataset

    from pipeline.benchmarks.segment import Segment

    urls = [str(path) for path in _paths(inputs)]
    samples = iter(webdataset.WebDataset(urls, shardshuffle=False).to_tuple("__key__", "jpg"))
    segment, number = Segment(ensemble_size), 0
    while batches := list(islice(_batches(samples), SHARD_IMAGES // BATCH_IMAGES)):
        with (folder / f"{number:06d}.tar").open("wb") as file:
            _write_tar(file, segment, batches)
        number += 1


def _batches(samples: Iterator[tuple[str, bytes]]) -> Iterator[Batch]:
    while batch := list(islice(samples, BATCH_IMAGES)):
        yield batch


def _of_files(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    return ((path.stem, path.read_bytes()) for path in paths)


def _write_tar(file: BinaryIO, segment: "Segment", batches: Iterable[Batch]) -> None:
    from pipeline.files.tars import SampleTar

    tar = SampleTar(file)
    for batch in batches:
        names, photos = zip(*batch, strict=True)
        columns = segment({"path": names, "bytes": photos})
        keys = columns.pop("__key__")
        for key, *members in zip(keys, *columns.values(), strict=True):
            tar.add(key, dict(zip(columns, members, strict=True)))
    tar.close()


def _paths(inputs: InputConfig) -> list[Path]:
    return sorted(Path(inputs.images).iterdir())


_WAYS: dict[str, Callable[[Path, InputConfig, int], None]] = {
    "ray": lambda folder, inputs, ensemble_size: _in_pipeline(folder, inputs, ensemble_size, "ray"),
    "inline": lambda folder, inputs, ensemble_size: _in_pipeline(folder, inputs, ensemble_size, "inline"),
    "ray data": _in_ray_data,
    "loop": _in_a_loop,
    "webdataset": _with_webdataset,
}
_ON_RAY = ("ray", "ray data")
_READS: dict[str, PlaceKind] = {"ray data": "folder", "loop": "folder", "webdataset": "tars"}
"""Ways that read one kind of place only."""
