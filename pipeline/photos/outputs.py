"""The files that a photo becomes: where they go, which are there, what stands in their way, and their writing."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from model.geometry import resize_map
from model.maps import encode_png, quantise_deviation, quantise_saliency
from model.prediction import Prediction
from pipeline.errors import ConfigError
from pipeline.files import storage
from pipeline.photos.config import PhotosConfig
from pipeline.photos.cutout import draw_cutout
from pipeline.photos.find import Photo
from pipeline.photos.overlay import draw_overlay


def mask_path(config: PhotosConfig, photo: Photo) -> Path:
    """The file of a photo's saliency map."""
    return config.output_dir / f"{photo.name}.png"


def uncertainty_path(config: PhotosConfig, photo: Photo) -> Path:
    """The file of a photo's uncertainty, if requested."""
    return config.output_dir / "uncertainty" / f"{photo.name}.png"


def overlay_path(config: PhotosConfig, photo: Photo) -> Path:
    """The file of a photo's picture to look at, if requested."""
    return config.output_dir / "overlay" / f"{photo.name}.jpg"


def cutout_path(config: PhotosConfig, photo: Photo) -> Path:
    """The file of a photo's cut-out, if requested."""
    return config.output_dir / "cutout" / f"{photo.name}.png"


def output_paths(config: PhotosConfig, photo: Photo) -> list[Path]:
    """All files that are requested for a photo."""
    paths = [mask_path(config, photo)]
    if config.save_uncertainty:
        paths.append(uncertainty_path(config, photo))
    if config.overlay:
        paths.append(overlay_path(config, photo))
    if config.cutout:
        paths.append(cutout_path(config, photo))
    return paths


def is_finished(config: PhotosConfig, photo: Photo) -> bool:
    """Do all outputs of a photo exist, without a request to overwrite them?"""
    return not config.overwrite and all(path.exists() for path in output_paths(config, photo))


def clashes(config: PhotosConfig, photos: Sequence[Photo]) -> dict[Photo, str]:
    """Photos whose outputs would overwrite a photo or another photo's outputs, and why.

    The first of two photos with the same output is not among them.
    """
    sources = {photo.path.resolve() for photo in photos}
    owners: dict[Path, Photo] = {}
    problems: dict[Photo, str] = {}
    for photo in photos:
        for path in output_paths(config, photo):
            owner = owners.setdefault(path, photo)
            if path.resolve() in sources:
                problems[photo] = f"{path} would replace a photo; give another --output-dir"
            elif owner is not photo:
                problems[photo] = f"{path} is an output of {owner.path} already; rename one of the two"
    return problems


def prepare_output_folder(folder: Path) -> None:
    """Create the output folder and test that it can be written to, before a model is loaded in vain.

    Raises: ConfigError: it can't be written to.
    """
    trial = folder / f".trial-{os.getpid()}"
    try:
        storage.publish(str(trial), b"")
        trial.unlink()
    except OSError as error:
        raise ConfigError(f"--output-dir {folder}: can't be written to ({error.strerror or error})") from error


def write_outputs(
    config: PhotosConfig, photo: Photo, pixels: UInt8[np.ndarray, "h w 3"], prediction: Prediction
) -> None:
    """Write the requested outputs of a photo, each file whole; existing ones only if they are to be overwritten.

    Raises: OSError: a file can't be written.
    """
    contents: dict[Path, Callable[[], bytes]] = {}
    contents[mask_path(config, photo)] = lambda: encode_png(quantise_saliency(prediction.saliency))
    if config.save_uncertainty:
        contents[uncertainty_path(config, photo)] = lambda: _uncertainty_png(prediction, pixels.shape[:2])
    if config.overlay:
        contents[overlay_path(config, photo)] = lambda: draw_overlay(pixels, prediction.saliency)
    if config.cutout:
        contents[cutout_path(config, photo)] = lambda: draw_cutout(pixels, prediction.saliency)
    for path, content in contents.items():
        if config.overwrite or not path.exists():
            storage.publish(str(path), content())


def _uncertainty_png(prediction: Prediction, height_width: tuple[int, ...]) -> bytes:
    height, width = height_width
    uncertainty = resize_map(torch.from_numpy(prediction.uncertainty), (height, width))
    return encode_png(quantise_deviation(np.asarray(uncertainty)))
