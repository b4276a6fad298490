"""The options of predicting photos; light to import."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from model.config import MAX_IMAGE_PIXELS, EnsembleConfig, ModelConfig
from pipeline.collection.config import Orientation, require_pixel_limit
from pipeline.errors import ConfigError
from pipeline.shown import shown

_LIKE_A_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")  # a path has one of the slashes
ALONE = "--save-uncertainty needs an --ensemble-size of at least 2"
OFFICIAL_OPTIONS = ("stable_diffusion_repo_path", "pretrained_model_path", "swinb_model_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotosConfig:
    """Write a saliency map for each photo: an 8-bit PNG with the photo's name, white where the salient object is.

    Exit codes: 0 done, 1 failed, 2 wrong request, 3 some photos failed (each is named, the others are done).
    """

    input_rgb_path: str
    """A photo, a folder of photos, or a glob in quotes (** matches nested folders)."""
    output_dir: Path
    """Folder for the PNGs; created if it does not exist."""
    recursive: bool = False
    """Read the folder's subfolders too; outputs are in subfolders of the same names. Hidden folders and the output
    folder are left out, and links to folders are not followed."""
    stable_diffusion_repo_path: Path | None = None
    """Official weights: folder with Stable Diffusion 2's vae/ and scheduler/. Needs the next two options."""
    pretrained_model_path: Path | None = None
    """Official weights: folder with the fine-tuned unet/, or that folder itself."""
    swinb_model_path: Path | None = None
    """Official weights: the Swin-B branch, a .pth file. To load faster, convert all three once with
    sod convert and give the resulting folder as --model."""
    model: ModelConfig = field(default_factory=ModelConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    half_precision: bool = False
    """16 bits: --dtype float16 on a GPU, --dtype bfloat16 on a CPU (which computes float16 slowly)."""
    reference: bool = False
    """Predict as the released SOD-diffusion code does; the log lists the options this sets and their effects. Options
    given explicitly win. Meant for the official weights."""
    orientation: Orientation = "auto"
    """Photos that ask viewers to turn them (EXIF orientation): turned `upright` as people see them, or as `stored`.
    `auto`: upright; with --reference, stored."""
    max_image_pixels: int = MAX_IMAGE_PIXELS
    """Photos of more pixels fail; they are not decoded. At most 500,000,000."""
    output_processing_res: bool = False
    """Write maps at the processing resolution instead of the photo's own size."""
    save_uncertainty: bool = False
    """Also write OUTPUT_DIR/uncertainty/NAME.png: v / 510 is how far the members deviate from the map (standard
    deviation from the mean, median absolute deviation from the median)."""
    overlay: bool = False
    """Also write OUTPUT_DIR/overlay/NAME.jpg, a picture to look at: the photo, darkened outside the object."""
    cutout: bool = False
    """Also write OUTPUT_DIR/cutout/NAME.png: the photo on a transparent background, with the saliency map as alpha."""
    overwrite: bool = False
    """Compute and replace outputs that exist already; by default they are kept and their photos skipped."""

    def __post_init__(self) -> None:
        require_pixel_limit(self)
        for name in ("input_rgb_path", "output_dir"):
            path = str(getattr(self, name))
            if _LIKE_A_URL.match(path) and not os.path.lexists(path):
                raise ConfigError(
                    f"{_option(name)} {shown(path)}: photos are read and written on this disk; give a path"
                )
        given = [name for name in OFFICIAL_OPTIONS if getattr(self, name) is not None]
        if given and len(given) < len(OFFICIAL_OPTIONS):
            missing = [_option(name) for name in OFFICIAL_OPTIONS if name not in given]
            raise ConfigError(
                f"{_option(given[0])} is given without {' and '.join(missing)}; official weights need all"
            )
        if given and self.model.model != "nano":
            raise ConfigError(f"--model {self.model.model} and {_option(given[0])} both name weights; give one of them")
        if given and self.model.decoder == "mask":
            raise ConfigError(f"--decoder mask and {_option(given[0])}: the official weights have no mask decoder")
        if self.model.is_fake:
            raise ConfigError(f"--model {self.model.model}: the stand-in paints discs; photos need `nano` or a folder")
        if self.save_uncertainty and self.ensemble.ensemble_size == 1:
            raise ConfigError(f"{ALONE}: one member can't disagree")

    @property
    def is_official(self) -> bool:
        """Are the official weight files to be used?"""
        return self.pretrained_model_path is not None


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
