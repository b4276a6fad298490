"""The model that is measured: the embedded weights, or the full architecture with random ones; and photographs."""

from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from jaxtyping import UInt8
from torch import nn

import pipeline
from model.architectures import build_pipeline
from model.config import EMBEDDED_MODEL, ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.saliency import load_pipeline, torch_dtype
from pipeline.benchmarks.model_kinds import Size
from pipeline.collection.images import decode_rgb

SAMPLE = Path(pipeline.__file__).parent / "sample"
"""Photographs, and hand-drawn masks of them."""


def load(size: Size, config: ModelConfig) -> SODDiffusionPipeline:
    """A pipeline of that size in the precision asked for, on the CPU, in evaluation mode."""
    dtype = torch_dtype(config.dtype)
    return load_pipeline(EMBEDDED_MODEL, dtype) if size == "nano" else _random_full(dtype)


def _random_full(dtype: torch.dtype) -> SODDiffusionPipeline:
    """Time does not depend on what the weights are, as long as values stay finite and are no denormals."""
    with torch.device("meta"):
        made = build_pipeline("full")
    for network in (made.unet, made.vae, made.conditioner):
        nn.Module.to(network, dtype).to_empty(device="cpu")
        for weight in network.parameters():
            _draw(weight.data)
        for name, buffer in network.named_buffers():
            _fill(name, buffer)
        network.eval().requires_grad_(False)
    made.scheduler = DDIMScheduler.from_config(made.scheduler.config)  # whose tables are on that device too
    made.set_progress_bar_config(disable=True)
    return made


def _draw(weight: torch.Tensor) -> None:
    if weight.ndim > 1:
        weight.normal_(std=weight[0].numel() ** -0.5)
    else:
        weight.fill_(0.5)  # scales and offsets


def _fill(name: str, buffer: torch.Tensor) -> None:
    """Variances and the scale of the pixels are ones; means, counters and tables of window positions zeros."""
    buffer.fill_(1 if "var" in name or "std" in name else 0)


def sample_photos(count: int) -> list[tuple[str, UInt8[np.ndarray, "_h _w 3"]]]:
    """Key and pixels of so many photographs of the embedded sample, from the beginning again when they run out."""
    files = sorted((SAMPLE / "images").glob("*.jpg"))
    chosen = [files[number % len(files)] for number in range(count)]
    return [(file.stem, decode_rgb(file.name, file.read_bytes())) for file in chosen]
