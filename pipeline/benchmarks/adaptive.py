"""What an adaptive ensemble saves, and what it changes: the sample's photographs, by both, in turn."""

import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from model.config import EnsembleConfig, ModelConfig
from model.prediction import Prediction
from model.saliency import DiffusionModel, ready
from pipeline.benchmarks.networks import SAMPLE, load, sample_photos
from pipeline.evaluation.measures import measure as measure_map
from pipeline.evaluation.truth import read_truth
from pipeline.files.maps import quantise_saliency
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.scores import score
from pipeline.selection.stopping_rule import stopping_rule
from pipeline.selection.verdicts import by_scores


def measure(
    folder: Path, *, seed: int, images: int, ensemble_size: int, denoise_steps: int, threads: int, device: str
) -> dict[str, Any]:
    """Members, verdicts by the default policy, seconds, and errors against the hand-drawn masks; means over images."""
    config, policy = ModelConfig(device=device, threads=threads), PolicyConfig()
    whole = EnsembleConfig(ensemble_size=ensemble_size, denoise_steps=denoise_steps, seed=seed)
    models = {
        ensemble.adaptive: ready(load("nano", config), config, ensemble, stopping_rule(ensemble, policy))
        for ensemble in (whole, replace(whole, adaptive="on"))
    }
    photos = sample_photos(images)
    for model in models.values():
        model.predict([photos[0][1]], [photos[0][0]])  # which warms up
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, pixels in photos:
        for adaptive, model in models.items():
            found[adaptive].append(_one(model, key, pixels, policy))
    same = [off["verdict"] == on["verdict"] for off, on in zip(found["off"], found["on"], strict=True)]
    numbers = ("members", "seconds", "s_measure", "mae")
    return {
        "seed": seed,
        "images": images,
        "same_verdicts": sum(same),
        **{way: {name: mean(image[name] for image in found[way]) for name in numbers} for way in found},
    }


def _one(model: DiffusionModel, key: str, pixels: Any, policy: PolicyConfig) -> dict[str, Any]:
    began = time.perf_counter()
    (prediction,) = model.predict([pixels], [key])
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "members": len(prediction.members),
        "verdict": by_scores(score(prediction), policy),
        **_errors(key, prediction),
    }


def _errors(key: str, prediction: Prediction) -> dict[str, Any]:
    truth = read_truth(SAMPLE / "masks" / f"{key}.png")
    measured = measure_map(quantise_saliency(prediction.saliency), truth, metrics=("mae", "s_measure"))
    return {"s_measure": measured.s_measure, "mae": measured.mae}
