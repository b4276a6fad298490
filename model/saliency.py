"""SOD-diffusion behind the `SaliencyModel` protocol: loads saved weights, predicts with fixed ensemble settings."""

import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import UInt8

from model.conditioner import SaliencyConditioner
from model.config import EnsembleConfig, ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.prediction import Prediction

NETWORKS = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "conditioner": SaliencyConditioner}
"""The parts of a saved pipeline that have weights."""


class DiffusionModel:
    """SOD-diffusion with its ensemble settings, ready to predict; fulfils `SaliencyModel`."""

    def __init__(self, pipeline: SODDiffusionPipeline, ensemble: EnsembleConfig, threads: int) -> None:
        self.pipeline = pipeline
        self.ensemble = ensemble
        self.threads = threads

    @property
    def device_kind(self) -> str:
        """`cpu` or `cuda`."""
        return str(self.pipeline.device.type)

    def predict(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], keys: Sequence[str]) -> list[Prediction]:
        """See `SaliencyModel.predict`."""
        # Here and not once at the start: OpenMP keeps the number per calling thread, and replicas work in another one
        # than they were made in.
        torch.set_num_threads(self.threads)
        return self.pipeline(images, keys, self.ensemble)


def load_diffusion_model(config: ModelConfig, ensemble: EnsembleConfig) -> DiffusionModel:
    """The weights that `config` names, on its device and in its precision.

    Raises: OSError, ValueError: the folder holds no pipeline of ours.
    """
    pipeline = load_pipeline(config.folder, getattr(torch, config.dtype))
    return DiffusionModel(pipeline.to(resolve_device(config.device)), ensemble, config.threads)


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> SODDiffusionPipeline:
    """A pipeline saved by `save_pretrained`, in evaluation mode, on the CPU; nothing is fetched.

    Raises: OSError, ValueError: the folder holds no pipeline of ours, or not all of its weights.
    """
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"{folder} holds no model_index.json, so it is no saved SOD-diffusion pipeline")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        networks = {name: _load_network(kind, folder, name, dtype) for name, kind in NETWORKS.items()}
        pipeline: SODDiffusionPipeline = SODDiffusionPipeline.from_pretrained(
            folder, **networks, local_files_only=True, low_cpu_mem_usage=False
        )
    for module in (pipeline.unet, pipeline.vae, pipeline.conditioner):
        module.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _load_network(kind: Any, folder: Path, name: str, dtype: torch.dtype) -> Any:
    """One network with all of its weights; what a file lacks, diffusers would leave random and only warn."""
    try:
        network, report = kind.from_pretrained(
            folder,
            subfolder=name,
            dtype=dtype,
            local_files_only=True,
            low_cpu_mem_usage=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except RuntimeError as error:  # a tensor has another shape
        raise ValueError(f"the weights in {folder / name} do not fit its config.json: {error}") from error
    if missing := report["missing_keys"]:
        raise ValueError(f"the weights in {folder / name} lack {len(missing)} tensors, {missing[0]} among them")
    # They are views into the mapped file, wherever they lie in it: aligned anew, saved and loaded weights predict the
    # same bits, and nobody can change them by writing to the file.
    for tensor in chain(network.parameters(), network.buffers()):
        tensor.data = tensor.data.clone()
    return network


def resolve_device(device: str) -> str:
    """`auto` to `cuda` where torch sees a GPU, else `cpu`; anything else as it is."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
