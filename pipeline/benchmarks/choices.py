"""What a numeric choice gains, and what it moves: the sample's photographs, by it and by the defaults."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from model.config import EnsembleConfig, ModelConfig
from model.prediction import Prediction
from model.saliency import ready
from pipeline.benchmarks.model_kinds import CHOICES, Choice, Size
from pipeline.benchmarks.networks import load, sample_photos
from pipeline.files.maps import mask_of, quantise_saliency
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.scores import pairwise_iou, score
from pipeline.selection.verdicts import by_scores

Photos = Sequence[tuple[str, UInt8[np.ndarray, "_h _w 3"]]]


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
    """Seconds per image of both, the IoU of their masks, how far their maps differ at most, and equal verdicts."""
    torch.set_num_threads(threads)
    default = ModelConfig(device=device, threads=threads)
    ensemble = EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps)
    photos = sample_photos(images)
    # The choice first: memory that the defaults have asked the process to keep would be kept with it too.
    seconds, found = _timed(size, replace(default, **CHOICES[choice]), ensemble, photos)
    default_seconds, expected = _timed(size, default, ensemble, photos)
    ious, differences, same = [], [], 0
    for one, other in zip(found, expected, strict=True):
        ious.append(pairwise_iou(np.stack([_mask(one.saliency), _mask(other.saliency)])))
        differences.append(float(np.abs(one.saliency - other.saliency).max()))
        same += by_scores(score(one), PolicyConfig()) == by_scores(score(other), PolicyConfig())
    return {
        "size": size,
        "choice": choice,
        "images": images,
        "seconds": seconds,
        "default_seconds": default_seconds,
        "iou": ious,
        "difference": max(differences),
        "same_verdicts": same,
    }


def _timed(size: Size, config: ModelConfig, ensemble: EnsembleConfig, photos: Photos) -> tuple[float, list[Prediction]]:
    """Seconds per image and predictions, one photograph at a time. The first warms up and is predicted twice; of the
    full size on a CPU that would take minutes."""
    model = ready(load(size, config), config, ensemble)
    if size == "nano" or config.device != "cpu":
        model.predict([photos[0][1]], [photos[0][0]])
    began = time.perf_counter()
    predictions = [model.predict([pixels], [key])[0] for key, pixels in photos]
    return (time.perf_counter() - began) / len(photos), predictions


def _mask(saliency: Float[np.ndarray, "h w"]) -> Any:
    return mask_of(quantise_saliency(saliency))
