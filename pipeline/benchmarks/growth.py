"""What a shard costs as their number grows: time, and memory of the driver."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model.config import EnsembleConfig, ModelConfig, at_least
from pipeline.benchmarks.benchmark import Case, Result, at_least_one, table_head
from pipeline.config import ClusterConfig, RunConfig

if TYPE_CHECKING:
    from pipeline.benchmarks.runs import RunTimes

WIDTH, HEIGHT = 32, 24
WARM_UP_SHARDS = 4
"""Shards of a run before the measured one: imports and the connection to Ray are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What a shard costs as their number grows: time, and memory of the driver, with the fake model."""

    shards: tuple[int, ...] = (100, 1_000, 10_000)
    """Numbers of shards; each shard has one image of 32 x 24 px."""
    engine: Literal["ray", "inline"] = "ray"
    """Same as the main job's --engine."""
    replicas: int = 0
    """Replicas on Ray, of one pretended core each; 0: one per core of this machine."""
    sleep_s: float = 0.0
    """Seconds that the fake model takes per image."""

    def __post_init__(self) -> None:
        at_least_one(self, "shards")
        at_least(self, 0, "replicas", "sleep_s")

    def cases(self) -> list[Case]:
        """One case per number of shards."""
        common = {"engine": self.engine, "replicas": self.replicas, "sleep_s": self.sleep_s}
        return [{"shards": shards, **common} for shards in self.shards]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head(
            "shards", "listed and planned", "worked on", "per shard", "memory of the driver", "per shard"
        )
        for result in results:
            shards = result["shards"]
            each_ms, each_kb = 1e3 * result["work_s"] / shards, result["bytes"] / 1e3 / shards
            yield (
                f"| {shards:,} | {result['plan_s']:.2f} s | {result['work_s']:.1f} s | {each_ms:.1f} ms "
                f"| {result['bytes'] / 1e6:.0f} MB | {each_kb:.1f} KB |"
            )


def measure(
    folder: Path, *, shards: int, engine: Literal["ray", "inline"], replicas: int, sleep_s: float
) -> dict[str, Any]:
    """Make a run of this many shards of one image each."""
    from pipeline.benchmarks.runs import cluster
    from pipeline.replicas.usage import peak_rss_bytes

    cluster_of_run = ClusterConfig(engine=engine, replicas=replicas)
    with cluster(wanted=engine == "ray", cores=replicas):
        _make_run(folder / "warm-up", WARM_UP_SHARDS, cluster_of_run, sleep_s=0)
        before = peak_rss_bytes()
        took = _make_run(folder / "measured", shards, cluster_of_run, sleep_s)
    return {
        "engine": engine,
        "shards": shards,
        "plan_s": took.plan_s,
        "work_s": took.work_s,
        "bytes": peak_rss_bytes() - before,
    }


def _make_run(folder: Path, shards: int, cluster: ClusterConfig, sleep_s: float) -> "RunTimes":
    from pipeline.benchmarks.inputs import make_collection
    from pipeline.benchmarks.runs import carry_out

    config = RunConfig(
        out=str(folder / "run"),
        input=make_collection(folder, shards, WIDTH, HEIGHT),
        model=ModelConfig(model=f"fake:sleep_s={sleep_s}"),
        ensemble=EnsembleConfig(ensemble_size=2),
        cluster=cluster,
        shard_size=1,
    )
    return carry_out(config)
