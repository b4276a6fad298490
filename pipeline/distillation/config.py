"""The options of a distillation; light to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model.config import ModelConfig, at_least, check_seed
from pipeline.options import require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationConfig:
    """Distil a mask decoder from a model's VAE, and write OUT/model: a copy of the model with it.

    The VAE itself is the teacher: it encodes drawn masks and soft maps, and what it decodes is what the mask decoder
    learns to paint. OUT keeps examples and checkpoints: run the same command again to resume. OUT/worst.png shows the
    maps on which the two agree least.
    """

    out: Path
    """Folder to work in; it must not exist, be empty, or have been begun by the same command."""
    model: str = "nano"
    """A folder saved by `save_pretrained`, or `nano` for the embedded weights."""
    size: Literal["auto", "small", "full"] = "auto"
    """Size of the decoder. `auto`: `full` if the VAE is as wide as Stable Diffusion's, else `small`."""
    examples: int = 4096
    """Maps to learn from, which the VAE encodes and decodes once."""
    steps: int = 4000
    """Steps of the optimiser, each with one batch of drawn maps."""
    batch: int = 16
    """Examples per step."""
    learning_rate: float = 2e-3
    """Peak of AdamW's learning rate; it warms up over 50 steps and falls to zero along a cosine."""
    held_out: int = 256
    """Maps on which decoder and VAE are compared in the end, and on a quarter as many at 2/3 and 4/3 of the size; none
    of them was learnt from."""
    photographs: Path | None = None
    """Folder of photographs that neither the model nor the decoder learnt from. Members of up to `held_out` of them,
    evenly spaced, are compared too; OUT/worst.png then shows these, and `--decoder auto` goes by them. May be given
    later, with the same OUT."""
    seed: int = 0
    """Seed of maps, noise, initial weights and batches; 0 to 2^63 - 1."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:0` …; `auto` is the GPU if torch sees one."""
    threads: int = 1
    """CPU threads, at least 1. The number changes the last bits of the weights."""
    workers: int = 1
    """Processes that draw maps, at least 1; on a GPU, drawing them takes most of the time. They change no byte."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        at_least(self, 1, "examples", "steps", "batch", "held_out", "threads", "workers", "checkpoint_every")
        require_positive(self, "learning_rate")
        check_seed(self.seed)
        if self.source.is_fake or self.source.is_url:
            raise ValueError(f"model is {self.model!r}; give a folder on this machine, or nano")

    @property
    def source(self) -> ModelConfig:
        """The model that is distilled from."""
        return ModelConfig(model=self.model, device=self.device, threads=self.threads)
