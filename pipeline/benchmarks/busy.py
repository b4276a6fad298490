"""The share of a replica's time in which its model works, in the real pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model.config import EnsembleConfig, ModelConfig, at_least
from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, table_head
from pipeline.config import ClusterConfig, RunConfig
from pipeline.errors import ConfigError

WIDTH, HEIGHT = 640, 480
"""The size of most of COCO's images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """The share of a replica's time in which its model works; the rest is waiting for images, disks and the driver."""

    images: int = 256
    """Number of images, of 640 x 480 px."""
    shard_size: int = 16
    """Images per shard; fewer than a run's default, so that there are many borders between shards."""
    model: str = "nano"
    """Same as the main job's --model."""
    ensemble_size: int = 10
    """Members per image, at least 2."""
    denoise_steps: int = 10
    """Denoising steps per member."""
    replicas: int = 1
    """Replicas on Ray."""
    threads: int = 1
    """CPU threads per replica."""

    def __post_init__(self) -> None:
        at_least_one(self, "images", "shard_size", "denoise_steps", "replicas", "threads")
        at_least(self, 2, "ensemble_size")
        EnsembleConfig(ensemble_size=self.ensemble_size, denoise_steps=self.denoise_steps)  # checks upper bounds

    def cases(self) -> list[Case]:
        """On Ray, where shards overlap, and in one process, where they do not.

        Raises: ConfigError: there is no such model.
        """
        _check_model(ModelConfig(model=self.model))
        return [{**arguments_of(self), "engine": engine} for engine in ("ray", "inline")]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head(
            "engine", "images", "shards", "the model works", "images/s of a replica", "with its start"
        )
        for result in results:
            yield (
                f"| {result['engine']} | {result['images']:,} | {result['shards']:,} "
                f"| {result['busy']:.1%} of the time | {result['images_per_s']:.2f} "
                f"| {result['busy_with_start']:.1%}, {result['images_per_s_with_start']:.2f} |"
            )


def _check_model(config: ModelConfig) -> None:
    from model.fake import FakeModel

    try:
        if config.is_fake:
            FakeModel.from_name(config.model, EnsembleConfig())
        elif not config.folder.is_dir():
            raise FileNotFoundError("there is no such folder")
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"--model {config.model}: {error}") from error


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
    """Predict, score and commit this many images."""
    from pipeline.benchmarks.inputs import make_collection
    from pipeline.benchmarks.runs import carry_out

    config = RunConfig(
        out=str(folder / "run"),
        input=make_collection(folder, images, WIDTH, HEIGHT),
        model=ModelConfig(model=model, threads=threads),
        ensemble=EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps),
        cluster=ClusterConfig(engine=engine, replicas=replicas),
        shard_size=shard_size,
    )
    took = carry_out(config)
    predicting_s = sum(replica.predicting_s for replica in took.usage)
    loaded_s = sum(replica.loaded_s for replica in took.usage)
    return {
        "engine": engine,
        "images": images,
        "shards": took.shards,
        "busy": predicting_s / loaded_s,
        "busy_with_start": predicting_s / took.work_s / len(took.usage),
        "images_per_s": images / loaded_s,
        "images_per_s_with_start": images / took.work_s / len(took.usage),
        "peak_rss_bytes": max(replica.peak_rss_bytes for replica in took.usage),
    }
