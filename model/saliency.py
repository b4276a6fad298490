"""SOD-diffusion behind the `SaliencyModel` protocol: loads saved weights, predicts with fixed ensemble settings."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import UInt8

from model.checkpoint_files import SAFETENSORS, CheckpointError, load_network, load_scheduler
from model.conditioner import SaliencyConditioner
from model.config import EnsembleConfig, ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.geometry import processed_size
from model.memory import LiveTensors, free_bytes, members_that_fit, with_fewer_when_out_of_memory
from model.prediction import Enough, ModelMemoryError, Prediction
from model.runtime import or_uncompiled, prepare

NETWORKS = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "conditioner": SaliencyConditioner}
"""The parts of a saved pipeline that have weights."""


class DiffusionModel:
    """SOD-diffusion with its ensemble settings, ready to predict; fulfils `SaliencyModel`."""

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
        self._lacks_compiler = wants_compiler and pipeline.unet._compiled_call_impl is None
        self._fewer_since: int | None = None
        """Members at once with which work went on after memory had run out."""

    @property
    def device_kind(self) -> str:
        """`cpu` or `cuda`; and it says if there is no compiler that was asked for, which moves the last bits too."""
        return f"{self.pipeline.device.type}{' without a compiler' if self._lacks_compiler else ''}"

    @property
    def processing_side_px(self) -> int:
        """Side of the squares that images are resized to; 0 if they are processed at their own sizes."""
        asked = self.ensemble.processing_res
        return self.pipeline.default_processing_res if asked is None else asked

    def predict(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], keys: Sequence[str]) -> list[Prediction]:
        """See `SaliencyModel.predict`."""
        # Here and not once at the start: OpenMP keeps the number per calling thread, and replicas work in another one
        # than they were made in.
        torch.set_num_threads(self.threads)

        def predict(at_once: int) -> list[Prediction]:
            ensemble = replace(self.ensemble, batch_size=at_once)
            return or_uncompiled(self.pipeline, lambda: self.pipeline(images, keys, ensemble, self.enough))

        most = len(images) * self.ensemble.ensemble_size
        asked = min((limit for limit in (self._members_at_once(images), most) if limit), default=1)
        predictions, came_with = with_fewer_when_out_of_memory(predict, min(asked, self._fewer_since or asked))
        if came_with == asked:
            return predictions
        self._fewer_since = came_with
        return [replace(prediction, fewer_at_once=came_with) for prediction in predictions]

    def _members_at_once(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]]) -> int | None:
        """As asked for; where that is left to the memory, or the images set the size, what the largest of them allows.

        The CPU has no error for what does not fit: the system would end the process.
        """
        asked = self.ensemble.batch_size
        if not images or (asked != 0 and self.processing_side_px != 0):
            return asked
        sizes = [processed_size(image.shape[:2], self.processing_side_px) for image in images]
        height, width = max(sizes, key=np.prod)
        member_bytes = self._bytes_per_pixel * height * width
        fitting = members_that_fit(self.pipeline.device, member_bytes)
        if fitting == 0:
            raise ModelMemoryError(
                f"one ensemble member of {width} x {height} px takes about {member_bytes / 2**30:.1f} GiB, "
                f"{free_bytes(self.pipeline.device) / 2**30:.1f} GiB are free; give a smaller --processing-res"
            )
        return asked or fitting

    @cached_property
    def _bytes_per_pixel(self) -> float:
        """What a member takes while it passes through the networks, per pixel; found with a small image."""
        side_px = 128
        small = replace(self.ensemble, ensemble_size=1, denoise_steps=1, processing_res=side_px, batch_size=1)
        # The cheaper layers' own weights are there once, however many members there are: they are not to be counted.
        eager = torch.compiler.set_stance("force_eager")  # the count sees operations, not what they are compiled to
        with self.pipeline.inference_form.active(), eager, LiveTensors() as tensors:
            self.pipeline([np.zeros((side_px, side_px, 3), np.uint8)], ["probe"], small)
        return float(tensors.peak_bytes) / side_px**2


def load_diffusion_model(config: ModelConfig, ensemble: EnsembleConfig, enough: Enough | None = None) -> DiffusionModel:
    """The weights that `config` names, on its device and in its precision.

    Raises: CheckpointError: the folder holds no pipeline of ours. ValueError: the device can't be used.
    """
    return ready(load_pipeline(config.folder, torch_dtype(config.dtype)), config, ensemble, enough)


def ready(
    pipeline: SODDiffusionPipeline, config: ModelConfig, ensemble: EnsembleConfig, enough: Enough | None = None
) -> DiffusionModel:
    """A loaded pipeline, whatever folder `config` names, on the device and in the form that it asks for.

    Raises: ValueError: the device can't be used, or not so.
    """
    if config.attention == "math" and 0 in (ensemble.batch_size, ensemble.processing_res):
        raise ValueError(
            "attention is 'math', whose memory grows with the square of the pixels and is not foreseen: give the "
            "members at once (batch_size) and one size for all images (processing_res), neither of them 0"
        )
    pipeline = prepare(on_device(pipeline, config.device), config)
    return DiffusionModel(pipeline, ensemble, config.threads, wants_compiler=config.compile, enough=enough)


def on_device(pipeline: SODDiffusionPipeline, device: str) -> SODDiffusionPipeline:
    """The pipeline, moved.

    Raises: ValueError: there is no such device, or no room on it.
    """
    try:
        moved: SODDiffusionPipeline = pipeline.to(resolve_device(device))
    except (RuntimeError, AssertionError) as error:  # the latter if torch was built without that kind of device
        raise ValueError(f"device {device} can't be used: {str(error).splitlines()[0]}") from error
    return moved


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> SODDiffusionPipeline:
    """A pipeline saved by `save_pretrained`, in evaluation mode, on the CPU; nothing is fetched.

    Raises: CheckpointError: the folder holds no pipeline of ours, or not all of its weights.
    """
    index = folder / "model_index.json"
    for part in (index.name, *(f"{name}/config.json" for name in NETWORKS)):
        if not (folder / part).is_file():
            raise CheckpointError(f"{folder} holds no {part}, so it is no saved SOD-diffusion pipeline")
    networks = {
        name: load_network(kind, folder / name, dtype, weights=(SAFETENSORS,)) for name, kind in NETWORKS.items()
    }
    scheduler = load_scheduler(folder / "scheduler")
    try:
        settings = json.loads(index.read_bytes())
        pipeline = SODDiffusionPipeline(
            **networks, scheduler=scheduler, default_processing_res=settings["default_processing_res"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{index} is none of ours: {type(error).__name__}: {error}") from error
    for module in networks.values():
        module.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def torch_dtype(name: str) -> torch.dtype:
    """`float32`, `bfloat16` or `float16` as torch's own."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def resolve_device(device: str) -> str:
    """`auto` to `cuda` where torch sees a GPU, else `cpu`; anything else as it is."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
