"""Images per second of the reference's way of working and of ours, with the same weights."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from model.config import EnsembleConfig, ModelConfig
from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, not_empty, table_head
from pipeline.benchmarks.model_work import Dtype, ModelWork, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Images/s of the reference's way of working (every member encodes, conditions, denoises and decodes by itself, in
    float32) and of ours, exact and adaptive, with the same weights."""

    sizes: tuple[Size, ...] = ("nano",)
    """`full` has random weights and takes a quarter of an hour on two cores; for its reference a single member is
    measured, and its time multiplied by the number of members."""
    dtypes: tuple[Dtype, ...] = ("float32",)
    """Precisions of ours."""
    images: int = 12
    """Photographs of the sample; always one for the full size."""
    rounds: int = 3
    """How often each way is measured, in turn; the full size once."""
    work: ModelWork = field(default_factory=ModelWork)

    def __post_init__(self) -> None:
        at_least_one(self, "images", "rounds")
        not_empty(self, "sizes", "dtypes")

    def cases(self) -> list[Case]:
        """Every way, one after the other, round by round.

        The full size has no adaptive way: random weights give no verdicts to stop early for.
        """
        cases: list[Case] = []
        for size in self.sizes:
            ways = [("reference", "float32")] + [("exact", dtype) for dtype in self.dtypes]
            ways += [("adaptive", dtype) for dtype in self.dtypes if size == "nano"]
            images, rounds = (self.images, self.rounds) if size == "nano" else (1, 1)
            one_round = [{"size": size, "way": way, "dtype": dtype, "images": images} for way, dtype in ways]
            cases += [case | arguments_of(self.work) for case in one_round * rounds]
        return cases

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per way: medians over the rounds."""
        yield from table_head(
            "model", "way", "precision", "members", "seconds per image", "images/s", "against the reference"
        )
        rows = defaultdict[tuple[str, str, str], list[Result]](list)
        for result in results:
            rows[result["size"], result["way"], result["dtype"]].append(result)
        for (size, way, dtype), same in rows.items():
            seconds = median(result["seconds_per_image"] for result in same)
            theirs = median(result["seconds_per_image"] for result in rows[size, "reference", "float32"])
            members = median(result["members"] for result in same)
            yield (
                f"| {size} | {way} | {dtype} | {members:.1f} | {seconds:.2f} s | {1 / seconds:.3f} "
                f"| {theirs / seconds:.2f} × |"
            )


def measure(
    folder: Path,
    *,
    size: Size,
    way: Literal["reference", "exact", "adaptive"],
    dtype: Dtype,
    images: int,
    ensemble_size: int,
    denoise_steps: int,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Predict this many photographs, after one that warms up; the full size on a CPU would take minutes to warm up."""
    import torch

    config = ModelConfig(device=device, dtype=dtype, threads=threads)
    ensemble = EnsembleConfig(
        ensemble_size=ensemble_size, denoise_steps=denoise_steps, adaptive="on" if way == "adaptive" else "off"
    )
    torch.set_num_threads(threads)
    predict, members_measured = (_reference if way == "reference" else _ours)(size, config, ensemble)
    if size == "nano" or device != "cpu":
        predict(1)
    began = time.perf_counter()
    members = predict(images)
    seconds = (time.perf_counter() - began) * ensemble_size / members_measured
    return {
        "size": size,
        "way": way,
        "dtype": dtype,
        "images": images,
        "members": members / images * ensemble_size / members_measured,
        "seconds_per_image": seconds / images,
    }


def _reference(size: Size, config: ModelConfig, ensemble: EnsembleConfig) -> tuple[Callable[[int], int], int]:
    """What predicts, and how many members it measures: one for the full size, as the others repeat the same work."""
    from model.saliency import on_device
    from pipeline.benchmarks.networks import measured_pipeline, sample_photos
    from pipeline.benchmarks.reference import members_one_by_one

    pipeline = on_device(measured_pipeline(size, config), config.device)
    measured = 1 if size == "full" else ensemble.members

    def predict(images: int) -> int:
        for key, pixels in sample_photos(images):
            members_one_by_one(pipeline, pixels, key, measured, ensemble.steps).float().cpu()
        return images * measured

    return predict, measured


def _ours(size: Size, config: ModelConfig, ensemble: EnsembleConfig) -> tuple[Callable[[int], int], int]:
    from model.saliency import ready
    from pipeline.benchmarks.networks import measured_pipeline, sample_photos
    from pipeline.selection.policy import PolicyConfig
    from pipeline.selection.stopping_rule import stopping_rule

    model = ready(measured_pipeline(size, config), config, ensemble, stopping_rule(ensemble, PolicyConfig()))

    def predict(images: int) -> int:
        photos, members = sample_photos(images), 0
        for first in range(0, images, ensemble.batch_images):
            batch = photos[first : first + ensemble.batch_images]
            predictions = model.predict([pixels for _, pixels in batch], [key for key, _ in batch])
            members += sum(len(prediction.members) for prediction in predictions)
        return members

    return predict, ensemble.members
