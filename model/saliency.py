"""SOD-diffusion as a `SaliencyModel`: load saved weights, predict with fixed ensemble settings."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import UInt8

from model.checkpoint_facts import INDEX, CheckpointFacts, settled
from model.checkpoint_files import SAFETENSORS, CheckpointError, load_network, load_scheduler, read_fields
from model.conditioner import SaliencyConditioner
from model.config import EnsembleConfig, ModelConfig, check_side, check_together
from model.decoder_choice import MASK_DECODER
from model.diffusion import SODDiffusionPipeline
from model.geometry import processed_size
from model.mask_decoder import MaskDecoder
from model.memory import LiveTensors, free_bytes, members_that_fit, with_fewer_when_out_of_memory
from model.precision import settled_precision, slow_precision
from model.prediction import Enough, ModelMemoryError, Prediction
from model.processor import processor_flags
from model.runtime import or_uncompiled, prepare
from model.steps import StepWatch
from model.vae_digest import remember_digest

NETWORKS = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "conditioner": SaliencyConditioner}
"""Parts of a saved pipeline that have weights; a mask decoder may come on top."""
_LARGEST_SIDE_PX = 8192

_log = logging.getLogger(__name__)


class DiffusionModel:
    """SOD-diffusion with its ensemble settings, ready to predict; implements `SaliencyModel`."""

    def __init__(
        self,
        pipeline: SODDiffusionPipeline,
        ensemble: EnsembleConfig,
        threads: int,
        *,
        wants_compiler: bool = False,
        enough: Enough | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.ensemble = ensemble
        self.threads = threads
        self.enough = enough
        self.step_bar: Any = None
        """See `ShowsSteps`."""
        self._lacks_compiler = wants_compiler and pipeline.unet._compiled_call_impl is None
        self._fewer_since: int | None = None
        """Members at once that last succeeded after memory ran out."""

    @property
    def device_kind(self) -> str:
        """`cpu` or `cuda`, plus `without a compiler` if a requested one is missing, which changes the last bits."""
        return f"{self.pipeline.device.type}{' without a compiler' if self._lacks_compiler else ''}"

    @property
    def processing_side_px(self) -> int:
        """Side of the squares that images are resized to; 0 if they are processed at their own sizes."""
        requested = self.ensemble.processing_res
        return self.pipeline.default_processing_res if requested is None else requested

    def predict(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], keys: Sequence[str]) -> list[Prediction]:
        """See `SaliencyModel.predict`."""
        # At every call, not once at the start: OpenMP keeps the number per calling thread, and a replica predicts in
        # another thread than the one that created it.
        torch.set_num_threads(self.threads)

        def predict(at_once: int) -> list[Prediction]:
            ensemble = replace(self.ensemble, batch_size=at_once)
            watch = None if self.step_bar is None else StepWatch(pipeline=self.pipeline, bar=self.step_bar)
            return or_uncompiled(
                self.pipeline, lambda: self.pipeline.predict(images, keys, ensemble, self.enough, watch)
            )

        most = len(images) * self.ensemble.members
        wanted = min((limit for limit in (self._members_at_once(images), most) if limit), default=1)
        predictions, at_once = with_fewer_when_out_of_memory(predict, min(wanted, self._fewer_since or wanted))
        if at_once == wanted:
            return predictions
        self._fewer_since = at_once
        return [replace(prediction, fewer_at_once=at_once) for prediction in predictions]

    def _members_at_once(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]]) -> int | None:
        """The configured number; if memory or the images' own sizes decide, the number that fits for the largest image.

        Found in advance since the CPU gives no error when memory runs out: the system would end the process.
        """
        configured = self.ensemble.batch_size
        if not images or (configured != 0 and self.processing_side_px != 0):
            return configured
        sizes = [processed_size(image.shape[:2], self.processing_side_px) for image in images]
        height, width = max(sizes, key=np.prod)
        member_bytes = self._bytes_per_pixel * height * width
        fitting = members_that_fit(self.pipeline.device, member_bytes)
        if fitting == 0:
            raise ModelMemoryError(
                f"one ensemble member of {width} x {height} px takes about {member_bytes / 2**30:.1f} GiB, "
                f"{free_bytes(self.pipeline.device) / 2**30:.1f} GiB are free; give a smaller --processing-res"
            )
        return configured or fitting

    @cached_property
    def _bytes_per_pixel(self) -> float:
        """Memory of a member while it passes through the networks, per pixel; measured with a small image."""
        side_px = 128
        small = replace(self.ensemble, ensemble_size=1, denoise_steps=1, processing_res=side_px, batch_size=1)
        # The cheaper layers' own weights exist once, however many members there are: they are not counted.
        eager = torch.compiler.set_stance("force_eager")  # counting sees operations, not compiled code
        with self.pipeline.inference_form.active(), eager, LiveTensors() as tensors:
            self.pipeline.predict([np.zeros((side_px, side_px, 3), np.uint8)], ["probe"], small)
        return float(tensors.peak_bytes) / side_px**2


def load_diffusion_model(config: ModelConfig, ensemble: EnsembleConfig, enough: Enough | None = None) -> DiffusionModel:
    """Load the weights that `config` names, on its device and in its precision.

    Raises: CheckpointError: the folder holds no pipeline of this project. ValueError: the device can't be used.
    """
    config = settled_precision(config, resolve_device(config.device))
    return ready(load_pipeline(config.folder, torch_dtype(config.dtype)), config, ensemble, enough)


def ready(
    pipeline: SODDiffusionPipeline, config: ModelConfig, ensemble: EnsembleConfig, enough: Enough | None = None
) -> DiffusionModel:
    """Prepare a loaded pipeline as `config` says; the folder that `config` names is ignored.

    Raises: ValueError: the device can't be used, or not in this way; the weights are for images that are too small; a
                mask decoder of their own VAE is wanted, and they have none.
    """
    if ensemble.processing_res is None:
        own_px = pipeline.default_processing_res
        check_side("processing_res of the weights", own_px, batch_stats=ensemble.batch_stats)
    check_together(config, ensemble)
    ensemble = settled(ensemble, pipeline.facts)
    pipeline.decode_with(config.decoder, ensemble.processing_res)
    pipeline = prepare(on_device(pipeline, config.device), config)
    if warning := slow_precision(str(pipeline.dtype).removeprefix("torch."), pipeline.device.type, processor_flags()):
        _log.warning("%s", warning)
    return DiffusionModel(pipeline, ensemble, config.threads, wants_compiler=config.compile, enough=enough)


def on_device(pipeline: SODDiffusionPipeline, device: str) -> SODDiffusionPipeline:
    """Move the pipeline to a device.

    Raises: ValueError: the device does not exist or lacks memory.
    """
    try:
        moved: SODDiffusionPipeline = pipeline.to(resolve_device(device))
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without that kind of device
        raise ValueError(f"device {device} can't be used: {str(error).splitlines()[0]}") from error
    return moved


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> SODDiffusionPipeline:
    """Load a pipeline saved by `save_pretrained`, in evaluation mode, on the CPU; nothing is downloaded.

    Its mask decoder comes with it if it has one, so that it is saved again, too.

    Raises: CheckpointError: the folder holds no pipeline of this project, or not all of its weights.
    """
    index = folder / INDEX
    for part in (index.name, *(f"{name}/config.json" for name in NETWORKS)):
        if not (folder / part).is_file():
            raise CheckpointError(f"{folder} holds no {part}, so it is not a saved SOD-diffusion pipeline")
    # The weights come last: they take most of the time.
    side_px, facts = _facts_in(index)
    scheduler = load_scheduler(folder / "scheduler")
    kinds = NETWORKS | ({MASK_DECODER: MaskDecoder} if (folder / MASK_DECODER / "config.json").is_file() else {})
    networks = {name: load_network(kind, folder / name, dtype, weights=(SAFETENSORS,)) for name, kind in kinds.items()}
    if MASK_DECODER in networks and dtype not in (torch.float32, torch.float16):
        remember_digest(networks["vae"], folder / "vae")
    try:
        pipeline = SODDiffusionPipeline(**networks, scheduler=scheduler, default_processing_res=side_px)
        pipeline.state_facts(facts)
    except (ValueError, KeyError, TypeError) as error:
        raise _no_pipeline(index, error) from error
    for module in networks.values():
        module.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _facts_in(index: Path) -> tuple[int, CheckpointFacts]:
    """Height and width in pixels that the weights were trained for, and how they are used best."""
    try:
        fields = read_fields(index)
        side_px = fields["default_processing_res"]
        if type(side_px) is not int or not 1 <= side_px <= _LARGEST_SIDE_PX:
            raise ValueError(f"default_processing_res must be from 1 to {_LARGEST_SIDE_PX}")
        return side_px, CheckpointFacts.of(fields)
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise _no_pipeline(index, error) from error


def _no_pipeline(index: Path, error: Exception) -> CheckpointError:
    said = f"{type(error).__name__}: {error}"
    return CheckpointError(f"{index} does not describe a pipeline of this project: {said}")


def torch_dtype(name: str) -> torch.dtype:
    """torch's dtype of that name: `float32`, `bfloat16` or `float16`; `auto` has to be settled before."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda` if torch sees a GPU, else `cpu`; keep any other name."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
