"""What everything around the model costs: the same images through the pipeline, Ray Data, and a plain loop."""

import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from model.config import EnsembleConfig, ModelConfig
from pipeline.benchmarks.inputs import VARIANTS, make_photo, write_collection
from pipeline.benchmarks.runs import carry_out, cluster
from pipeline.benchmarks.segment import Segment
from pipeline.config import ClusterConfig, InputConfig, RunConfig
from pipeline.tars import SampleTar

SHARD_IMAGES = 64
"""A run's default, and what Ray Data is asked to put into a tar."""
BATCH_IMAGES = 4

Way = Literal["ray", "inline", "ray data", "loop"]


def measure(folder: Path, *, images: int, width: int, height: int, ensemble_size: int, way: Way) -> dict[str, Any]:
    """Images/s of one replica between its first tar and its last: what starting takes is no part of it."""
    photos = [make_photo(number, width, height) for number in range(VARIANTS)]
    inputs = write_collection(folder, photos, images, width, height)
    tars = folder / "candidates"
    work: dict[Way, Callable[[], None]] = {
        "ray": lambda: _run(folder, inputs, ensemble_size, "ray"),
        "inline": lambda: _run(folder, inputs, ensemble_size, "inline"),
        "ray data": lambda: _ray_data(inputs, tars, -(-images // SHARD_IMAGES), ensemble_size),
        "loop": lambda: _loop(inputs, tars, ensemble_size),
    }
    with cluster(wanted=way in ("ray", "ray data")):
        started = time.time()
        work[way]()
        ended = time.time()
    written = sorted((path.stat().st_mtime, _images_in(path)) for path in tars.glob("*.tar"))
    assert sum(count for _, count in written) == images
    (first, in_first), (last, _) = written[0], written[-1]
    return {
        "way": way,
        "width": width,
        "height": height,
        "images": images,
        "images_per_s": (images - in_first) / (last - first),
        "first_s": first - started,
        "seconds": ended - started,
    }


def _images_in(tar: Path) -> int:
    with tarfile.open(tar) as file:
        return sum(name.endswith(".json") for name in file.getnames())


def _run(folder: Path, inputs: InputConfig, ensemble_size: int, engine: Literal["ray", "inline"]) -> None:
    config = RunConfig(
        out=str(folder),
        input=inputs,
        model=ModelConfig(model="fake"),
        ensemble=EnsembleConfig(ensemble_size=ensemble_size, batch_images=BATCH_IMAGES),
        cluster=ClusterConfig(engine=engine, replicas=1),
        shard_size=SHARD_IMAGES,
    )
    carry_out(config)


def _ray_data(inputs: InputConfig, tars: Path, shards: int, ensemble_size: int) -> None:
    from pipeline.benchmarks.ray_data import write_tars

    write_tars(inputs.images, str(tars), shards=shards, ensemble_size=ensemble_size, batch_images=BATCH_IMAGES)


def _loop(inputs: InputConfig, tars: Path, ensemble_size: int) -> None:
    """The work itself in one thread: nothing ahead, nothing behind, no care that files are whole."""
    segment, paths = Segment(ensemble_size), sorted(Path(inputs.images).iterdir())
    tars.mkdir()
    for number, start in enumerate(range(0, len(paths), SHARD_IMAGES)):
        with (tars / f"{number:06d}.tar").open("wb") as file:
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
