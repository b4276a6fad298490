"""What a shard costs as their number grows: time, and memory of the driver."""

from pathlib import Path
from typing import Any, Literal

from model.config import EnsembleConfig, ModelConfig
from pipeline.benchmarks.inputs import VARIANTS, make_photo, write_collection
from pipeline.benchmarks.runs import Measured, carry_out, cluster
from pipeline.config import ClusterConfig, RunConfig
from pipeline.replicas.usage import peak_rss_bytes

WIDTH, HEIGHT = 32, 24
MEMBERS = 2
WARM_UP = 4
"""Shards of a run before the one that is measured: what is imported and connected then is not counted."""


def measure(folder: Path, *, shards: int, engine: Literal["ray", "inline"]) -> dict[str, Any]:
    """Make a run of so many shards of one image each."""
    with cluster(wanted=engine == "ray"):
        _run(folder / "warm-up", WARM_UP, engine)
        before = peak_rss_bytes()
        found = _run(folder / "measured", shards, engine)
    return {
        "engine": engine,
        "shards": shards,
        "plan_s": found.plan_s,
        "work_s": found.work_s,
        "bytes": peak_rss_bytes() - before,
    }


def _run(folder: Path, shards: int, engine: Literal["ray", "inline"]) -> Measured:
    photos = [make_photo(number, WIDTH, HEIGHT) for number in range(VARIANTS)]
    config = RunConfig(
        out=str(folder / "run"),
        input=write_collection(folder, photos, shards, WIDTH, HEIGHT),
        model=ModelConfig(model="fake"),
        ensemble=EnsembleConfig(ensemble_size=MEMBERS),
        cluster=ClusterConfig(engine=engine),
        shard_size=1,
    )
    return carry_out(config)
