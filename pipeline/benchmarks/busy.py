"""The share of a replica's time in which its model works, in the real pipeline."""

from pathlib import Path
from typing import Any, Literal

from model.config import EnsembleConfig, ModelConfig
from pipeline.benchmarks.inputs import VARIANTS, make_photo, write_collection
from pipeline.benchmarks.runs import carry_out
from pipeline.config import ClusterConfig, RunConfig

WIDTH, HEIGHT = 640, 480
"""As most of COCO's images."""


def measure(
    folder: Path,
    *,
    images: int,
    shard_size: int,
    model: str,
    ensemble_size: int,
    denoise_steps: int,
    replicas: int,
    threads: int,
    engine: Literal["ray", "inline"],
) -> dict[str, Any]:
    """Predict, score and commit so many images."""
    photos = [make_photo(number, WIDTH, HEIGHT) for number in range(VARIANTS)]
    config = RunConfig(
        out=str(folder / "run"),
        input=write_collection(folder, photos, images, WIDTH, HEIGHT),
        model=ModelConfig(model=model, threads=threads),
        ensemble=EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps),
        cluster=ClusterConfig(engine=engine, replicas=replicas),
        shard_size=shard_size,
    )
    found = carry_out(config)
    predicting_s = sum(replica.predicting_s for replica in found.usage)
    loaded_s = sum(replica.loaded_s for replica in found.usage)
    return {
        "engine": engine,
        "images": images,
        "shards": found.shards,
        "busy": predicting_s / loaded_s,
        "busy_with_start": predicting_s / found.work_s / len(found.usage),
        "images_per_s": images / loaded_s,
        "images_per_s_with_start": images / found.work_s / len(found.usage),
        "peak_rss_bytes": max(replica.peak_rss_bytes for replica in found.usage),
    }
