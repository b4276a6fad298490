"""Images per second of the reference's way of working and of ours, with the same weights."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from model.config import EnsembleConfig, ModelConfig
from model.saliency import on_device, ready
from pipeline.benchmarks.model_kinds import Dtype, Size
from pipeline.benchmarks.networks import load, sample_photos
from pipeline.benchmarks.reference import members_one_by_one
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.stopping_rule import stopping_rule

Way = Literal["reference", "exact", "adaptive"]


def measure(
    folder: Path,
    *,
    size: Size,
    way: Way,
    dtype: Dtype,
    images: int,
    ensemble_size: int,
    denoise_steps: int,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Predict so many photographs, after one that warms up; of the full size on a CPU that would take minutes."""
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
    """Of the full size one member is measured: the others are the same work again, one after the other."""
    pipeline = on_device(load(size, config), config.device)
    measured = 1 if size == "full" else ensemble.ensemble_size

    def predict(images: int) -> int:
        for key, pixels in sample_photos(images):
            members_one_by_one(pipeline, pixels, key, measured, ensemble.denoise_steps).float().cpu()
        return images * measured

    return predict, measured


def _ours(size: Size, config: ModelConfig, ensemble: EnsembleConfig) -> tuple[Callable[[int], int], int]:
    model = ready(load(size, config), config, ensemble, stopping_rule(ensemble, PolicyConfig()))

    def predict(images: int) -> int:
        photos, members = sample_photos(images), 0
        for first in range(0, images, ensemble.batch_images):
            batch = photos[first : first + ensemble.batch_images]
            found = model.predict([pixels for _, pixels in batch], [key for key, _ in batch])
            members += sum(len(prediction.members) for prediction in found)
        return members

    return predict, ensemble.ensemble_size
