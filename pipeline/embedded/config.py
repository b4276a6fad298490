"""The options of the embedded model's training; light to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model.config import at_least, check_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedTrainingConfig:
    """Train the nano model: conditioner, VAE, diffusion, the whole ensemble, and last its decoders.

    Every stage writes checkpoints to OUT and is skipped once it is complete: run the same command again to resume. The
    finished model is saved in OUT/model.
    """

    data: Path = Path("out/training")
    """Folder of composites, made by sod embedded composites."""
    photographs: Path | None = None
    """Folder of labelled photographs, made by sod embedded photographs; half of the views are of them. Default: train
    on composites alone."""
    out: Path = Path("out/train")
    """Folder of checkpoints and of the finished model."""
    backbone: Path | None = None
    """ImageNet weights of the conditioner's backbone, a .pth of tensors. Default: fetch them into DATA/cache."""
    side_px: int = 256
    """Side of the images that the model is trained for, a multiple of 32."""
    stage: Literal["all", "conditioner", "vae"] = "all"
    """`conditioner` and `vae` are independent and can be trained side by side; `all` trains whatever is left."""
    conditioner_steps: int = 3000
    """Steps, of 192 views each. The conditioner decides the quality of the masks."""
    vae_steps: int = 1500
    """Steps, of 128 views each, half of them masks."""
    cached_views: int = 30000
    """Views that are encoded for the diffusion stage; 150 KB each in OUT/latents and in memory."""
    diffusion_steps: int = 3000
    """Steps, of 256 encoded views each."""
    ensemble_steps: int = 1000
    """Steps, of 48 views and four members each, through the whole model."""
    decoders_steps: int = 2000
    """Steps, of 32 maps each, for the mask decoder and the VAE's own."""
    device: str = "cpu"
    """`cpu`, `cuda`, `cuda:0` …; `auto` is the GPU if torch sees one. Training pairs are kept in a GPU's memory."""
    workers: int = 1
    """Processes that draw maps for the decoders, at least 1; they change no byte."""
    threads: int = 2
    """CPU threads, at least 1. The number changes the last bits of the weights."""
    seed: int = 0
    """Seed of initial weights, batches, crops and noise; 0 to 2^63 - 1."""

    def __post_init__(self) -> None:
        steps = (name for name in self.__slots__ if name.endswith("_steps"))
        at_least(self, 1, *steps, "cached_views", "workers", "threads")
        check_seed(self.seed)
        if self.side_px < 32 or self.side_px % 32:
            raise ValueError(f"side_px is {self.side_px}; it must be a multiple of 32, at least 32")
