"""What is measured: the embedded model or the full architecture with random weights, on photographs of the sample."""

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
from pipeline.benchmarks.model_work import Size
from pipeline.collection.images import decode_rgb

SAMPLE = Path(pipeline.__file__).parent / "sample"
"""Folder of photographs and their hand-drawn masks."""


def measured_pipeline(size: Size, config: ModelConfig) -> SODDiffusionPipeline:
    """A pipeline of this size in the requested precision, on the CPU, in evaluation mode."""
    dtype = torch_dtype(config.dtype)
    return load_pipeline(EMBEDDED_MODEL, dtype) if size == "nano" else _random_full(dtype)


def _random_full(dtype: torch.dtype) -> SODDiffusionPipeline:
    """The full architecture. Its speed does not depend on the weights as long as values are finite and not denormal."""
    with torch.device("meta"):
        made = build_pipeline("full")
    for network in (made.unet, made.vae, made.conditioner):
        nn.Module.to(network, dtype).to_empty(device="cpu")
        for weight in network.parameters():
            _draw_weight(weight.data)
        for name, buffer in network.named_buffers():
            # Variances and the scale of the pixels are ones; means, counters and tables of window positions are zeros.
            buffer.fill_(1 if "var" in name or "std" in name else 0)
        network.eval().requires_grad_(False)
    made.scheduler = DDIMScheduler.from_config(made.scheduler.config)  # its tables were on `meta` too
    made.set_progress_bar_config(disable=True)
    return made


def _draw_weight(weight: torch.Tensor) -> None:
    if weight.ndim > 1:
        weight.normal_(std=weight[0].numel() ** -0.5)
    else:
        weight.fill_(0.5)  # scales and offsets


def sample_photos(count: int) -> list[tuple[str, UInt8[np.ndarray, "_h _w 3"]]]:
    """Key and pixels of `count` photographs of the embedded sample; they start over when they run out."""
    files = sorted((SAMPLE / "images").glob("*.jpg"))
    chosen = [files[number % len(files)] for number in range(count)]
    return [(file.stem, decode_rgb(file.name, file.read_bytes())) for file in chosen]
