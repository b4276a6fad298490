"""Everything that can be set about predicting photos; light to import."""

from dataclasses import dataclass, field
from pathlib import Path

from model.config import EnsembleConfig, ModelConfig
from pipeline.errors import ConfigError

OFFICIAL_OPTIONS = ("stable_diffusion_repo_path", "pretrained_model_path", "swinb_model_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotosConfig:
    """Paint the saliency map of each photo: 8-bit PNGs of the photos' names, white where the salient object is.

    Exit codes: 0 done, 1 failed, 2 wrong request, 3 some photos failed (each is named, the others are done).
    """

    input_rgb_path: str
    """A photo, a folder of photos, or a glob (quoted; ** for folders in folders)."""
    output_dir: Path
    """Folder for the PNGs; made if it is not there."""
    stable_diffusion_repo_path: Path | None = None
    """Official weights: folder with Stable Diffusion 2's vae/ and scheduler/. The next two belong to it."""
    pretrained_model_path: Path | None = None
    """Official weights: folder with the fine-tuned unet/, or that folder itself."""
    swinb_model_path: Path | None = None
    """Official weights: the Swin-B branch, a .pth file. To save the time of reading all three anew, convert them once
    (jobs/convert_checkpoint.py) and give the folder as --model."""
    model: ModelConfig = field(default_factory=ModelConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    half_precision: bool = False
    """16 bits: --dtype float16 on a GPU, --dtype bfloat16 on a CPU (which computes float16 slowly)."""
    reference: bool = False
    """Predict as the released SOD-diffusion code does: the log says what is then set to what, and what it does.
    Options given beside it win. Meant for the official weights."""
    output_processing_res: bool = False
    """Write maps at the processing resolution instead of the photo's own size."""
    save_uncertainty: bool = False
    """Also write OUTPUT_DIR/uncertainty/NAME.png: v means v / 510, how far the members lie from the map (their standard
    deviation for the mean, their median absolute deviation for the median)."""
    overlay: bool = False
    """Also write OUTPUT_DIR/overlay/NAME.jpg, a picture to look at: the photo, darker outside of the object."""
    overwrite: bool = False
    """Compute and replace what is already in the output folder; otherwise it is left as it is and skipped."""

    def __post_init__(self) -> None:
        given = [name for name in OFFICIAL_OPTIONS if getattr(self, name) is not None]
        if given and len(given) < len(OFFICIAL_OPTIONS):
            missing = [_option(name) for name in OFFICIAL_OPTIONS if name not in given]
            raise ConfigError(
                f"{_option(given[0])} is given without {' and '.join(missing)}; official weights need all"
            )
        if given and self.model.model != "nano":
            raise ConfigError(f"--model {self.model.model} and {_option(given[0])} both name weights; give one of them")
        if self.model.is_fake:
            raise ConfigError(f"--model {self.model.model}: the stand-in paints discs; photos want `nano` or a folder")
        if self.save_uncertainty and self.ensemble.ensemble_size == 1:
            raise ConfigError("--save-uncertainty needs an --ensemble-size of at least 2: one member can't disagree")

    @property
    def is_official(self) -> bool:
        """Are the weights those of the official files?"""
        return self.pretrained_model_path is not None


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
