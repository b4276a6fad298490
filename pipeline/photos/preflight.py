"""Checks a request to predict photos before torch is loaded, which takes seconds; writes nothing."""

from dataclasses import replace
from pathlib import Path

from model.config import ModelConfig
from pipeline.errors import ConfigError
from pipeline.photos.config import OFFICIAL_OPTIONS, PhotosConfig
from pipeline.photos.find import find_photos, from_home
from pipeline.preconditions import require_apart, require_model, require_target, require_there


def check_request(config: PhotosConfig) -> None:
    """Check that there are photos, weights and the device, and that outputs can be written.

    Raises: CollectionError: photos or official weights are missing. ConfigError: the model or its device is, or nothing
            can be written to the output folder.
    """
    require_masks_apart(config)
    find_photos(config.input_rgb_path, recursive=config.recursive, outputs=config.output_dir)
    require_target(config.output_dir, "--output-dir")
    require_model(config.model, config.ensemble)
    for name in OFFICIAL_OPTIONS if config.is_official else ():
        require_there(str(getattr(config, name)), f"--{name.replace('_', '-')}")


def at_home(config: PhotosConfig) -> PhotosConfig:
    """The configuration with its paths as a shell would give them."""
    output_dir = Path(from_home(str(config.output_dir)))
    return replace(config, input_rgb_path=from_home(config.input_rgb_path), output_dir=output_dir)


def require_masks_apart(config: PhotosConfig) -> None:
    """Refuse to write masks into the folder of the photos; they may be in a folder inside it.

    Raises: ConfigError: it is the same folder.
    """
    require_apart(str(config.output_dir), config.input_rgb_path, "--output-dir", may_be_inside=True)


def refuse_full_precision(config: PhotosConfig, dtype: str) -> None:
    """Refuse half precision together with an explicit float32.

    Args:   dtype: as the command line gives it, "" without: the configuration can't tell that from the default.
    Raises: ConfigError: both are asked for.
    """
    if config.half_precision and dtype == ModelConfig().dtype:
        raise ConfigError(f"--half-precision asks for 16 bits, --dtype {dtype} for 32; leave one of them out")
