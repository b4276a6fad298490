"""Finding out what is left of a run: time and memory until work begins."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.benchmarks.inputs import MADE_WITH
from pipeline.collection.config import InputConfig
from pipeline.config import RunConfig
from pipeline.files.tars import encode_json
from pipeline.records import Location, Sample, ShardRecord, ShardSpec, StoredFile
from pipeline.replicas.progress import Progress
from pipeline.replicas.usage import peak_rss_bytes
from pipeline.run import todo_of
from pipeline.runs.plan import plan_shards
from pipeline.runs.run_file import open_run
from pipeline.selection.policy import PolicyConfig


def measure(folder: Path, shards: int, images_per_shard: int) -> dict[str, Any]:
    """Make a run of so many committed shards, then find out what is left of it.

    The annotations are not read and no weights are hashed: both are the same however far the run is.
    """
    samples = _samples(shards * images_per_shard)
    open_run(str(folder), samples, images_per_shard, MADE_WITH)
    _write_records(folder, samples, images_per_shard)
    before = peak_rss_bytes()
    started = time.perf_counter()
    specs, _ = open_run(str(folder), samples, images_per_shard, MADE_WITH)
    left = _left(str(folder), specs)
    seconds = time.perf_counter() - started
    assert left == []
    return {"shards": shards, "seconds": seconds, "bytes": peak_rss_bytes() - before}


def _left(folder: str, specs: Sequence[ShardSpec]) -> list[ShardSpec]:
    config = RunConfig(out=folder, input=InputConfig(images="", annotations=""))
    return todo_of(config, specs, Progress(len(specs), PolicyConfig()))


def _samples(count: int) -> list[Sample]:
    return [
        Sample(
            key=f"{number:012d}", image_id=number, file_name=f"{number:012d}.jpg", width=640, height=480, license_id=1,
            location=Location(path=f"/images/{number:012d}.jpg"),
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


def _write_records(run: Path, samples: list[Sample], images_per_shard: int) -> None:
    """As `commit_shard` leaves them, without waiting for the disk each time."""
    (run / "commits").mkdir()
    for spec in plan_shards(samples, images_per_shard):
        tar, rows = (
            StoredFile(name=f"{spec.name}.{kind}", file_bytes=1, sha256="0" * 64) for kind in ("tar", "parquet")
        )
        record = ShardRecord(shard=spec.name, tar=tar, rows=rows, done=len(spec.samples), failed=0)
        (run / "commits" / f"{spec.name}.json").write_bytes(encode_json(asdict(record)))
