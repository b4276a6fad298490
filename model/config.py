"""What can be set about the model and its ensemble; light to import, so that `--help` is instant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

EMBEDDED_MODEL = Path(__file__).resolve().parent / "nano"
"""The weights that come with the project."""

SIDE_MULTIPLE = 32
"""Processed height and width are multiples of this: the conditioner's coarsest map has stride 32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Which weights, where, and in which precision."""

    model: str = "nano"
    """A folder saved by `save_pretrained`, or `nano` for the weights that come with the project. `fake` is an instant
    stand-in without weights, for trying out the pipeline (options: see model/fake.py)."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:0` …; `auto` is the GPU if torch sees one. A GPU and a CPU differ in the last bits."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of weights and activations. Half precision is faster on GPUs and moves masks a little."""
    threads: int = 1
    """CPU threads of one replica, at least 1. More threads, fewer replicas; it changes the last bits of a result."""

    def __post_init__(self) -> None:
        _at_least("threads", self.threads, 1)

    @property
    def is_fake(self) -> bool:
        """Is the stand-in meant?"""
        return self.model.partition(":")[0] == "fake"

    @property
    def is_folder(self) -> bool:
        """Is a folder of the user's meant?"""
        return self.model != "nano" and not self.is_fake

    @property
    def folder(self) -> Path:
        """Where the weights lie."""
        return Path(self.model) if self.is_folder else EMBEDDED_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleConfig:
    """How an image is predicted. Every field changes what is computed, so none may change within a run."""

    ensemble_size: int = 10
    """Members per image, at least 2: denoising runs from different noise. Time grows with it, the variance steadies."""
    denoise_steps: int = 10
    """DDIM steps of a member, 1 to 999: leading spacing has no 1000. Time grows with it."""
    processing_res: int = 0
    """Height and width in pixels that images are resized to, a multiple of 32; 0 is what the weights were trained
    for."""
    batch_images: int = 4
    """Images predicted together, at least 1. More fill a GPU better and take memory; it changes the last bits of a
    result, so batches are cut by the plan, never by what is free."""
    seed: int = 0
    """Seed of the run, 0 to 2^63 - 1. Each (image, member) draws its own noise from it."""

    def __post_init__(self) -> None:
        _at_least("ensemble_size", self.ensemble_size, 2)
        _at_least("batch_images", self.batch_images, 1)
        if not 1 <= self.denoise_steps <= 999:
            raise ValueError(f"denoise_steps is {self.denoise_steps}; it must be from 1 to 999")
        if self.processing_res < 0 or self.processing_res % SIDE_MULTIPLE:
            raise ValueError(f"processing_res is {self.processing_res}; it must be 0 or a multiple of {SIDE_MULTIPLE}")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 2^63 - 1")


def _at_least(name: str, value: int, bound: int) -> None:
    if value < bound:
        raise ValueError(f"{name} is {value}; it must be at least {bound}")
