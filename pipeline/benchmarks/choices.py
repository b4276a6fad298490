"""What a numeric choice gains and how far it moves the maps: photographs of the sample, with it and without it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

from model.config import EnsembleConfig, ModelConfig
from pipeline.benchmarks.benchmark import Case, Result, arguments_of, at_least_one, not_empty, table_head
from pipeline.benchmarks.model_work import ModelWork, Size

if TYPE_CHECKING:
    from model.prediction import Prediction

Choice = Literal["bfloat16", "float16", "contiguous", "math", "compiled", "no-keep-memory"]
CHOICES: dict[Choice, dict[str, Any]] = {
    "bfloat16": {"dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
    "contiguous": {"memory_format": "contiguous"},
    "math": {"attention": "math"},
    "compiled": {"compile": True},
    "no-keep-memory": {"keep_memory": False},
}
"""Name → the fields of the model's configuration that differ from the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What numeric choices gain, and how far they move the maps: each against the defaults on the same photographs."""

    choices: tuple[Choice, ...] = ("bfloat16", "contiguous", "math", "compiled", "no-keep-memory")
    """Which options of the main job are changed from their defaults, one at a time."""
    size: Size = "nano"
    """`full` has random weights and takes a quarter of an hour per choice on two cores."""
    images: int = 12
    """Photographs of the sample; always one for the full size."""
    work: ModelWork = field(default_factory=ModelWork)

    def __post_init__(self) -> None:
        at_least_one(self, "images")
        not_empty(self, "choices")

    def cases(self) -> list[Case]:
        """One case per choice."""
        common = arguments_of(self) | {"images": self.images if self.size == "nano" else 1}
        return [{"choice": choice, **common} for choice in common.pop("choices")]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per choice."""
        yield from table_head(
            "choice",
            "seconds per image",
            "default",
            "of its time",
            "IoU of masks",
            "largest difference",
            "equal verdicts",
        )
        for result in results:
            seconds, default = result["seconds"], result["default_seconds"]
            yield (
                f"| {result['choice']} | {seconds:.2f} s | {default:.2f} s | {seconds / default:.2f} "
                f"| {mean(result['iou']):.4f}, least {min(result['iou']):.4f} | {result['difference']:.1e} "
                f"| {result['same_verdicts']} of {result['images']} |"
            )


def measure(
    folder: Path,
    *,
    size: Size,
    choice: Choice,
    images: int,
    ensemble_size: int,
    denoise_steps: int,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Seconds per image both ways, the IoU of the masks, the largest difference of the maps, and equal verdicts."""
    import torch

    from pipeline.benchmarks.networks import sample_photos

    torch.set_num_threads(threads)
    default = ModelConfig(device=device, threads=threads)
    ensemble = EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps)
    photos = sample_photos(images)
    # The choice goes first: memory that the defaults make the process keep would be kept for the choice too.
    seconds, found = _predict_all(size, replace(default, **CHOICES[choice]), ensemble, photos)
    default_seconds, expected = _predict_all(size, default, ensemble, photos)
    return {
        "size": size,
        "choice": choice,
        "images": images,
        "seconds": seconds,
        "default_seconds": default_seconds,
        **_compare(found, expected),
    }


def _predict_all(
    size: Size, config: ModelConfig, ensemble: EnsembleConfig, photos: Sequence[tuple[str, Any]]
) -> tuple[float, list["Prediction"]]:
    """Seconds per image and predictions, one photograph at a time.

    The first photograph is predicted once before, to warm up; not by the full size on a CPU, where that takes minutes.
    """
    from model.saliency import ready
    from pipeline.benchmarks.networks import measured_pipeline

    model = ready(measured_pipeline(size, config), config, ensemble)
    if size == "nano" or config.device != "cpu":
        model.predict([photos[0][1]], [photos[0][0]])
    began = time.perf_counter()
    predictions = [model.predict([pixels], [key])[0] for key, pixels in photos]
    return (time.perf_counter() - began) / len(photos), predictions


def _compare(found: Sequence["Prediction"], expected: Sequence["Prediction"]) -> dict[str, Any]:
    import numpy as np

    from model.maps import quantise_saliency
    from pipeline.files.maps import mask_of
    from pipeline.selection.policy import PolicyConfig
    from pipeline.selection.scores import pairwise_iou, score
    from pipeline.selection.verdicts import by_scores

    ious, differences, same = [], [], 0
    for one, other in zip(found, expected, strict=True):
        masks = [mask_of(quantise_saliency(prediction.saliency)) for prediction in (one, other)]
        ious.append(pairwise_iou(np.stack(masks)))
        differences.append(float(np.abs(one.saliency - other.saliency).max()))
        same += by_scores(score(one), PolicyConfig()) == by_scores(score(other), PolicyConfig())
    return {"iou": ious, "difference": max(differences), "same_verdicts": same}
