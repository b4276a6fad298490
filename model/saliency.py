"""SOD-diffusion behind the `SaliencyModel` protocol: loads saved weights, predicts with fixed ensemble settings."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from model.config import EnsembleConfig, ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.prediction import Prediction


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
    """A pipeline saved by `save_pretrained`, in evaluation mode, on the CPU; nothing is fetched."""
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"{folder} holds no model_index.json, so it is no saved SOD-diffusion pipeline")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        pipeline: SODDiffusionPipeline = SODDiffusionPipeline.from_pretrained(
            folder, dtype=dtype, local_files_only=True, low_cpu_mem_usage=False, use_safetensors=True
        )
    for module in (pipeline.unet, pipeline.vae, pipeline.conditioner):
        module.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def resolve_device(device: str) -> str:
    """`auto` to `cuda` where torch sees a GPU, else `cpu`; anything else as it is."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
