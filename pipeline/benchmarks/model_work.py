"""The options that the benchmarks of the model alone share."""

from dataclasses import dataclass
from typing import Literal

from model.config import EnsembleConfig
from pipeline.benchmarks.benchmark import at_least_one

Size = Literal["nano", "full"]
"""`nano` is the embedded model; `full` has the architecture of the official weights, with random ones."""
Dtype = Literal["float32", "bfloat16", "float16"]
"""Precision of weights and activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWork:
    """What is done to each image, and with what."""

    ensemble_size: int = 10
    """Members per image; the most there can be where the ensemble is adaptive."""
    denoise_steps: int = 10
    """Denoising steps per member."""
    threads: int = 2
    """CPU threads."""
    device: str = "cpu"
    """Same as the main job's --device."""

    def __post_init__(self) -> None:
        at_least_one(self, "ensemble_size", "denoise_steps", "threads")
        EnsembleConfig(ensemble_size=self.ensemble_size, denoise_steps=self.denoise_steps)  # checks upper bounds
