"""Photos through a model: what is there already is left alone, what fails is named, everything else is done."""

import errno
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from model.checkpoints import CheckpointError, OfficialFiles, load_official
from model.config import ModelConfig
from model.geometry import squared
from model.memory import most_at_once
from model.prediction import Prediction
from model.saliency import DiffusionModel, load_diffusion_model, ready, resolve_device, torch_dtype
from pipeline.collection.config import MAX_IMAGE_BYTES
from pipeline.collection.images import decode_rgb, is_turned
from pipeline.errors import ConfigError, SampleError
from pipeline.photos.config import PhotosConfig
from pipeline.photos.find import Photo, find_photos
from pipeline.photos.outputs import clashes, is_finished, require_writable, without, write_outputs
from pipeline.replicas.batches import predict_batch, read_ahead
from pipeline.selection.stopping_rule import stopping_rule

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotosReport:
    """How it ended. The counts add up to the photos that were found."""

    output_dir: str
    photos: int
    predicted: int
    skipped: int
    """Their outputs were there already."""
    failed: int
    images_per_s: float
    """Of this session, without loading the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoResult:
    """A photo that is settled; an empty `problem` means that its outputs are written."""

    photo: Photo
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    photo: Photo
    pixels: UInt8[np.ndarray, "h w 3"] | None
    problem: str


def predict(
    config: PhotosConfig, watched: Callable[[Iterator[PhotoResult], int], Iterator[PhotoResult]] = lambda it, _: it
) -> PhotosReport:
    """Find the photos and write what is wanted of them.

    Args:   watched: given the results and how many there will be, passes them on; shows progress meanwhile.
    Raises: UsageError: no photos, no such weights, or an output folder that can't be written to.
            OSError: writing failed on the way; what is written stays, and the same command goes on.
    """
    found = find_photos(config.input_rgb_path)
    if found.ignored:
        _log.info("%d files that are no photos by their names are left out, %s", len(found.ignored), found.ignored[0])
    problems = clashes(config, found.photos)
    for photo, problem in problems.items():
        _log.error("%s failed: %s", photo.path, problem)
    candidates = without(found.photos, problems)
    todo = [photo for photo in candidates if not is_finished(config, photo)]
    if skipped := len(candidates) - len(todo):
        _log.info(
            "%d photos have their outputs in %s already; --overwrite makes them again", skipped, config.output_dir
        )
    failed, started = len(problems), time.monotonic()
    if todo:
        require_writable(config.output_dir)
        model = load(config)
        started = time.monotonic()
        for result in watched(predict_photos(todo, model, config), len(todo)):
            if result.problem:
                failed += 1
                _log.error("%s failed: %s", result.photo.path, result.problem)
    predicted = len(found.photos) - skipped - failed
    return PhotosReport(
        output_dir=str(config.output_dir),
        photos=len(found.photos),
        predicted=predicted,
        skipped=skipped,
        failed=failed,
        images_per_s=round(predicted / max(time.monotonic() - started, 1e-9), 3),
    )


def load(config: PhotosConfig) -> DiffusionModel:
    """The weights that the configuration names.

    Raises: ConfigError: there are none, or others than they should be.
    """
    settings = _with_precision(config)
    try:
        if config.is_official:
            return _load_official(config, settings)
        return load_diffusion_model(settings, config.ensemble, stopping_rule(config.ensemble))
    except (CheckpointError, OSError, ValueError) as error:
        raise ConfigError(str(error)) from error


def predict_photos(photos: Sequence[Photo], model: DiffusionModel, config: PhotosConfig) -> Iterator[PhotoResult]:
    """Predict and write; one result per photo, in order."""
    for batch in read_ahead(photos, lambda photo: _read(photo, model, config), _images_together(model)):
        predictions = predict_batch(model, {read.photo.name: read.pixels for read in batch if read.pixels is not None})
        for read in batch:
            outcome = predictions.get(read.photo.name)
            problem = str(outcome) if isinstance(outcome, SampleError) else read.problem
            if isinstance(outcome, Prediction):
                problem = _write(read, outcome, config)
            yield PhotoResult(photo=read.photo, problem=problem)


def _load_official(config: PhotosConfig, settings: ModelConfig) -> DiffusionModel:
    if not (config.pretrained_model_path and config.stable_diffusion_repo_path and config.swinb_model_path):
        raise ConfigError("official weights need all three of their paths")
    files = OfficialFiles(
        unet=config.pretrained_model_path,
        stable_diffusion=config.stable_diffusion_repo_path,
        branch=config.swinb_model_path,
    )
    pipeline = load_official(files, torch_dtype(settings.dtype))
    return ready(pipeline, settings, config.ensemble, stopping_rule(config.ensemble))


def _with_precision(config: PhotosConfig) -> ModelConfig:
    """`--half-precision` as a dtype, which depends on the device; a dtype that was given stays."""
    if not config.half_precision or config.model.dtype != "float32":
        return config.model
    on_gpu = resolve_device(config.model.device).startswith("cuda")
    return replace(config.model, dtype="float16" if on_gpu else "bfloat16")


def _images_together(model: DiffusionModel) -> int:
    """Images whose members make up a batch of the size asked for, or of the largest that is any use."""
    at_once = model.ensemble.batch_size or most_at_once(model.pipeline.device.type)
    return max(1, at_once // model.ensemble.ensemble_size)


def _read(photo: Photo, model: DiffusionModel, config: PhotosConfig) -> _Read:
    """Pixels as stored, as a run takes them."""
    try:
        size_bytes = photo.path.stat().st_size
        if size_bytes > MAX_IMAGE_BYTES:
            raise SampleError("too_many_bytes", f"{size_bytes} bytes; the limit is {MAX_IMAGE_BYTES}")
        content = photo.path.read_bytes()
        pixels = decode_rgb(photo.path.name, content)
    except SampleError as error:
        return _Read(photo=photo, pixels=None, problem=str(error))
    except OSError as error:
        return _Read(photo=photo, pixels=None, problem=f"unreadable: {error.strerror or error}")
    if is_turned(content):
        _log.warning("%s is marked as turned; its mask lies as its pixels are stored", photo.path)
    if config.output_processing_res and model.processing_side_px:
        pixels = squared(pixels, model.processing_side_px)
    return _Read(photo=photo, pixels=pixels, problem="")


def _write(read: _Read, prediction: Prediction, config: PhotosConfig) -> str:
    """Why a photo's outputs could not be written, if that is its own fault and not the disk's."""
    assert read.pixels is not None  # they were predicted
    try:
        write_outputs(config, read.photo, read.pixels, prediction)
    except OSError as error:
        if error.errno not in (None, errno.ENAMETOOLONG):  # Pillow's have none: a JPEG has at most 65,500 px a side
            raise
        return f"its outputs can't be written: {error.strerror or error}"
    return ""
