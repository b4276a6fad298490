"""What everything around the model costs: the same images through the pipeline, Ray Data, and a plain loop."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from model.config import EnsembleConfig, ModelConfig
from pipeline.benchmarks.inputs import VARIANTS, make_photo, write_collection
from pipeline.benchmarks.runs import carry_out, cluster
from pipeline.benchmarks.segment import Segment
from pipeline.collection.config import InputConfig
from pipeline.config import ClusterConfig, RunConfig
from pipeline.files.tars import SampleTar

SHARD_IMAGES = 64
"""A run's default, and what Ray Data is asked to put into a tar."""
BATCH_IMAGES = 4
WARM_UP_IMAGES = 2 * SHARD_IMAGES
"""Of a run before those that are measured: what is imported and connected then is not counted."""

Way = Literal["ray", "inline", "ray data", "loop"]


def measure(folder: Path, *, images: int, width: int, height: int, ensemble_size: int, way: Way) -> dict[str, Any]:
    """Images/s of one replica, from the difference between a run of all images and one of a quarter of them.

    So the start of a replica is no part of it. The times of tars would not tell: Ray Data writes most of its tars in
    the end, when the processors that its other stages hold become free.
    """
    photos = [make_photo(number, width, height) for number in range(VARIANTS)]
    seconds = {}
    with cluster(wanted=way in ("ray", "ray data")):
        for count in (WARM_UP_IMAGES, images // 4, images):
            where = folder / str(count)
            inputs = write_collection(where, photos, count, width, height)
            started = time.perf_counter()
            _WAYS[way](where, inputs, ensemble_size)
            seconds[count] = time.perf_counter() - started
    rate = (images - images // 4) / (seconds[images] - seconds[images // 4])
    return {
        "way": way,
        "width": width,
        "height": height,
        "images": images,
        "images_per_s": rate,
        "start_s": seconds[images] - images / rate,
    }


def _on_ray(folder: Path, inputs: InputConfig, ensemble_size: int) -> None:
    _run(folder, inputs, ensemble_size, "ray")


def _inline(folder: Path, inputs: InputConfig, ensemble_size: int) -> None:
    _run(folder, inputs, ensemble_size, "inline")


def _run(folder: Path, inputs: InputConfig, ensemble_size: int, engine: Literal["ray", "inline"]) -> None:
    config = RunConfig(
        out=str(folder / "run"),
        input=inputs,
        model=ModelConfig(model="fake"),
        ensemble=EnsembleConfig(ensemble_size=ensemble_size, batch_images=BATCH_IMAGES),
        cluster=ClusterConfig(engine=engine, replicas=1),
        shard_size=SHARD_IMAGES,
    )
    carry_out(config)


def _ray_data(folder: Path, inputs: InputConfig, ensemble_size: int) -> None:
    from pipeline.benchmarks.ray_data import write_tars

    shards = -(-len(_paths(inputs)) // SHARD_IMAGES)
    tars = str(folder / "tars")
    write_tars(inputs.images, tars, shards=shards, ensemble_size=ensemble_size, batch_images=BATCH_IMAGES)


def _loop(folder: Path, inputs: InputConfig, ensemble_size: int) -> None:
    """The work itself in one thread: nothing ahead, nothing behind, no care that files are whole."""
    segment, paths = Segment(ensemble_size), _paths(inputs)
    for start in range(0, len(paths), SHARD_IMAGES):
        with (folder / f"{start:06d}.tar").open("wb") as file:
            _write_tar(file, segment, paths[start : start + SHARD_IMAGES])


def _write_tar(file: BinaryIO, segment: Segment, paths: Sequence[Path]) -> None:
    tar = SampleTar(file)
    for start in range(0, len(paths), BATCH_IMAGES):
        batch = paths[start : start + BATCH_IMAGES]
        columns = segment({"path": batch, "bytes": [path.read_bytes() for path in batch]})
        keys = columns.pop("__key__")
        for key, *members in zip(keys, *columns.values(), strict=True):
            tar.add(key, dict(zip(columns, members, strict=True)))
    tar.close()


def _paths(inputs: InputConfig) -> list[Path]:
    return sorted(Path(inputs.images).iterdir())


_WAYS: dict[Way, Callable[[Path, InputConfig, int], None]] = {
    "ray": _on_ray,
    "inline": _inline,
    "ray data": _ray_data,
    "loop": _loop,
}
