"""Finding out what is left of a run: time and memory until work begins."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.benchmarks.benchmark import Case, Result, at_least_one, table_head
from pipeline.collection.config import InputConfig
from pipeline.config import RunConfig

if TYPE_CHECKING:
    from pipeline.records import Sample, ShardSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Finding out what is left of a run, for several numbers of committed shards."""

    shards: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Numbers of shards. They are synthetic, but their records and their plan are real."""
    images_per_shard: int = 1
    """More images make a larger plan."""

    def __post_init__(self) -> None:
        at_least_one(self, "shards", "images_per_shard")

    def cases(self) -> list[Case]:
        """One case per number of shards."""
        return [{"shards": shards, "images_per_shard": self.images_per_shard} for shards in self.shards]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head("committed shards", "seconds until work begins", "per shard", "memory of it")
        for result in results:
            seconds, shards = result["seconds"], result["shards"]
            each_ms = 1e3 * seconds / shards
            yield f"| {shards:,} | {seconds:.2f} s | {each_ms:.3f} ms | {result['bytes'] / 1e6:.0f} MB |"


def measure(folder: Path, *, shards: int, images_per_shard: int) -> dict[str, Any]:
    """Make a run of this many committed shards, then find out what is left of it.

    Annotations are not read and weights are not hashed: neither depends on how far the run is.
    """
    from pipeline.benchmarks.inputs import MADE_WITH
    from pipeline.replicas.usage import peak_rss_bytes
    from pipeline.runs.run_file import open_run

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


def _left(folder: str, specs: Sequence["ShardSpec"]) -> list["ShardSpec"]:
    from pipeline.replicas.engine import todo_of
    from pipeline.replicas.progress import Progress
    from pipeline.selection.policy import PolicyConfig

    config = RunConfig(out=folder, input=InputConfig(images="", annotations=""))
    return todo_of(config.out, specs, Progress(len(specs), PolicyConfig()))


def _samples(count: int) -> list["Sample"]:
    from pipeline.records import Location, Sample

    return [
        Sample(
            key=f"{number:012d}", image_id=number, file_name=f"{number:012d}.jpg", width=640, height=480, license_id=1,
            location=Location(path=f"/images/{number:012d}.jpg"),
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


def _write_records(run: Path, samples: list["Sample"], images_per_shard: int) -> None:
    """Write shard records as `commit_shard` does, but without waiting for the disk each time."""
    from pipeline.files.tars import encode_json
    from pipeline.records import ShardRecord, StoredFile
    from pipeline.runs.plan import plan_shards

    (run / "commits").mkdir()
    for spec in plan_shards(samples, images_per_shard):
        tar, rows = (
            StoredFile(name=f"{spec.name}.{kind}", file_bytes=1, sha256="0" * 64) for kind in ("tar", "parquet")
        )
        record = ShardRecord(shard=spec.name, tar=tar, rows=rows, done=len(spec.samples), failed=0)
        (run / "commits" / f"{spec.name}.json").write_bytes(encode_json(asdict(record)))
