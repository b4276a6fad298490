"""What can be set about a training; light to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model.config import at_least, check_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Train the nano model from composites: conditioner, VAE, then diffusion.

    Every stage leaves a checkpoint in OUT and is skipped when that is complete, so the same command goes on where a
    killed one stopped. The finished model is saved in OUT/model.
    """

    data: Path = Path("out/training")
    """Folder of composites, made by jobs/make_composites.py."""
    photographs: Path | None = None
    """Folder of views of labelled photographs, made by jobs/make_photographs.py, if they are to be learnt from too."""
    out: Path = Path("out/train")
    """Folder of checkpoints and of the finished model."""
    backbone: Path | None = None
    """ImageNet weights of the conditioner's backbone, a .pth of tensors; fetched into DATA/cache when not given."""
    stage: Literal["all", "conditioner", "vae"] = "all"
    """One of the two stages that do not wait for each other (to run both side by side), or all that is left to do."""
    conditioner_steps: int = 2200
    """Steps of 24 crops. The conditioner sets the quality of the masks."""
    vae_steps: int = 800
    """Steps of 16 crops, half of them masks."""
    diffusion_steps: int = 4500
    """Steps of 32 composites, encoded beforehand."""
    threads: int = 2
    """CPU threads, at least 1. Another number changes the last bits of the weights."""
    seed: int = 0
    """Decides initial weights, batches, crops and noise; 0 to 2^63 - 1."""

    def __post_init__(self) -> None:
        at_least(self, 1, "conditioner_steps", "vae_steps", "diffusion_steps", "threads")
        check_seed(self.seed)
