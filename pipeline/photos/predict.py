"""Predict photos: existing outputs are kept, photos that fail are named, all others are done."""

import errno
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from model.checkpoint_facts import CheckpointFacts, facts_of, settled
from model.checkpoints import CheckpointError, OfficialFiles, load_official
from model.config import EnsembleConfig, ModelConfig
from model.geometry import squared
from model.memory import most_at_once
from model.prediction import Prediction
from model.saliency import DiffusionModel, load_diffusion_model, ready, resolve_device, torch_dtype
from model.seeds import key_of
from pipeline.collection.config import MAX_IMAGE_BYTES
from pipeline.collection.frames import default_frame
from pipeline.collection.images import decode_framed
from pipeline.errors import ConfigError, SampleError, kept
from pipeline.files.model_urls import at_hand
from pipeline.photos.config import ALONE, PhotosConfig
from pipeline.photos.find import Photo, find_photos
from pipeline.photos.left_out import log_left_out, require_codecs
from pipeline.photos.outputs import clashes, is_finished, prepare_output_folder, write_outputs
from pipeline.photos.preflight import at_home, require_masks_apart
from pipeline.precision import with_precision
from pipeline.progress.stages import stage
from pipeline.replicas.batches import predict_batch, read_ahead
from pipeline.replicas.signals import stop_flag_then_interrupt
from pipeline.selection.stopping_rule import stopping_rule

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotosReport:
    """The outcome. The counts add up to the photos that were found."""

    output_dir: str
    photos: int
    predicted: int
    skipped: int
    """Photos whose outputs existed already."""
    failed: int
    images_per_s: float
    """Speed of this session, without loading the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoResult:
    """A photo that is done; if `problem` is empty, its outputs are written."""

    photo: Photo
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    photo: Photo
    pixels: UInt8[np.ndarray, "h w 3"] | None
    problem: str


def predict(config: PhotosConfig) -> PhotosReport:
    """Find the photos and write the requested outputs.

    Raises: UsageError: there are no photos or no such weights, or the output folder can't be written to.
            OSError: writing failed; finished outputs stay, and the same call resumes.
            KeyboardInterrupt: SIGTERM or SIGINT came; the same holds.
    """
    config = at_home(config)
    require_masks_apart(config)
    found = find_photos(config.input_rgb_path, recursive=config.recursive, outputs=config.output_dir)
    log_left_out(config.input_rgb_path, found)
    problems = clashes(config, found.photos)
    for photo, problem in problems.items():
        _log.error("%s failed: %s", photo.path, problem)
    candidates = [photo for photo in found.photos if photo not in problems]
    todo = [photo for photo in candidates if not is_finished(config, photo)]
    if skipped := len(candidates) - len(todo):
        _log.info(
            "skipping %d photos whose outputs exist in %s; --overwrite computes them again", skipped, config.output_dir
        )
    failed, started = len(problems), time.monotonic()
    if todo:
        require_codecs(candidates)
        prepare_output_folder(config.output_dir)
        with stage("loading the model"):
            model = load(config)
        started = time.monotonic()
        with (
            kept(lambda: "Finished maps stay"),
            stop_flag_then_interrupt() as stop,
            stage("predicting", len(todo), "photos") as predicting,
        ):
            for result in predict_photos(todo, model, config):
                predicting.advance()
                if result.problem:
                    failed += 1
                    predicting.note(f"{failed} failed")
                    _log.error("%s failed: %s", result.photo.path, result.problem)
                if stop.is_set():
                    raise KeyboardInterrupt
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
    """Load the weights that the configuration names.

    Raises: ConfigError: they do not exist, or are not what they should be.
    """
    settings = with_precision(_with_half_precision(config))
    try:
        if config.is_official:
            return _load_official(config, settings)
        settings = at_hand(settings)
        ensemble = _ensemble(config, facts_of(settings))
        return load_diffusion_model(settings, ensemble, stopping_rule(ensemble))
    except (CheckpointError, OSError, ValueError) as error:
        raise ConfigError(str(error)) from error


def predict_photos(photos: Sequence[Photo], model: DiffusionModel, config: PhotosConfig) -> Iterator[PhotoResult]:
    """Predict photos and write their outputs; yield one result per photo, in order."""
    members_at_once = model.ensemble.batch_size or most_at_once(model.pipeline.device.type)
    photos_at_once = max(1, members_at_once // model.ensemble.members)
    for batch in read_ahead(photos, lambda photo: _read(photo, model, config), photos_at_once, _pixel_count):
        pixels = {read.photo.name: read.pixels for read in batch if read.pixels is not None}
        predictions = predict_batch(model, pixels, key_of)
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
    ensemble = _ensemble(config, pipeline.facts)
    return ready(pipeline, settings, ensemble, stopping_rule(ensemble))


def _ensemble(config: PhotosConfig, facts: CheckpointFacts) -> EnsembleConfig:
    """The ensemble with the numbers of the weights where none were given.

    Raises: ConfigError: they are made for a single member, whose uncertainty is asked for.
    """
    ensemble = settled(config.ensemble, facts)
    if config.save_uncertainty and ensemble.members == 1:
        raise ConfigError(f"{ALONE}, which these weights do not have by themselves")
    return ensemble


def _with_half_precision(config: PhotosConfig) -> ModelConfig:
    """Turn `--half-precision` into the dtype that suits the device; an explicit dtype wins."""
    if not config.half_precision or config.model.dtype != "float32":
        return config.model
    on_gpu = resolve_device(config.model.device).startswith("cuda")
    return replace(config.model, dtype="float16" if on_gpu else "bfloat16")


def _read(photo: Photo, model: DiffusionModel, config: PhotosConfig) -> _Read:
    """Read the pixels as people see them, or as stored if that is asked for."""
    # The reference takes pixels as they are stored, as annotations do.
    frame = default_frame(config.orientation, annotated=config.reference)
    try:
        with photo.path.open("rb") as file:
            content = file.read(MAX_IMAGE_BYTES + 1)
        if len(content) > MAX_IMAGE_BYTES:
            size_bytes = max(len(content), photo.path.stat().st_size)
            raise SampleError("too_many_bytes", f"{size_bytes} bytes; the limit is {MAX_IMAGE_BYTES}")
        seen = decode_framed(
            photo.path.name, content, max_pixels=config.max_image_pixels, annotated_px=None, default=frame
        )
    except SampleError as error:
        return _Read(photo=photo, pixels=None, problem=str(error))
    except OSError as error:
        return _Read(photo=photo, pixels=None, problem=f"unreadable: {error.strerror or error}")
    pixels = seen.pixels
    if frame == "stored" and seen.exif_orientation != 1:
        _log.warning(
            "%s has an EXIF orientation, which is not applied: its mask matches the pixels as stored", photo.path
        )
    if config.output_processing_res and model.processing_side_px:
        pixels = squared(pixels, model.processing_side_px)
    return _Read(photo=photo, pixels=pixels, problem="")


def _pixel_count(read: _Read) -> int:
    return 0 if read.pixels is None else read.pixels.shape[0] * read.pixels.shape[1]


def _write(read: _Read, prediction: Prediction, config: PhotosConfig) -> str:
    """Write a photo's outputs; return what went wrong if the photo is the cause, "" if nothing did."""
    assert read.pixels is not None  # the prediction was made from them
    try:
        write_outputs(config, read.photo, read.pixels, prediction)
    except OSError as error:
        if error.errno not in (
            None,
            errno.ENAMETOOLONG,
        ):  # Pillow's errors have none: a JPEG has at most 65,500 px a side
            raise
        return f"its outputs can't be written: {error.strerror or error}"
    return ""
