"""A pass of the UNet against the rate at which this machine multiplies matrices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.architectures import build_pipeline
from model.config import ModelConfig
from model.diffusion import SODDiffusionPipeline
from model.runtime import prepare
from model.saliency import on_device
from pipeline.benchmarks.clock import now
from pipeline.benchmarks.model_kinds import Dtype, Size
from pipeline.benchmarks.networks import load

MATRIX_SIDE = 4096
TRIALS = 3


@torch.inference_mode()
def measure(
    folder: Path,
    *,
    size: Size,
    dtype: Dtype,
    batch: int,
    threads: int,
    device: str,
    compiled: bool,
) -> dict[str, Any]:
    """The best of some trials of each, in turn. Operations are counted: two for a multiplication and an addition."""
    torch.set_num_threads(threads)
    config = ModelConfig(device=device, dtype=dtype, threads=threads, compile=compiled)
    pipeline = prepare(on_device(load(size, config), device), config)
    matrix = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=pipeline.device, dtype=pipeline.unet.dtype)
    step = _Step(pipeline, batch)
    with step.form:
        first_s = _seconds(step.run)
        trials = [(_seconds(lambda: matrix @ matrix), _seconds(step.run)) for _ in range(TRIALS)]
    matrix_s, pass_s = map(min, zip(*trials, strict=True))
    counted = operations(size, batch)
    matrix_rate, pass_rate = 2 * MATRIX_SIDE**3 / matrix_s, counted / pass_s
    return {
        "size": size,
        "dtype": dtype,
        "batch": batch,
        "compiled": compiled,
        "first_s": first_s,
        "pass_s": pass_s,
        "operations": counted,
        "pass_rate": pass_rate,
        "matrix_rate": matrix_rate,
        "share": pass_rate / matrix_rate,
    }


class _Step:
    """One pass of the UNet over the members of one image."""

    def __init__(self, pipeline: SODDiffusionPipeline, batch: int) -> None:
        side, like = pipeline.default_processing_res // 8, {"device": pipeline.device, "dtype": pipeline.unet.dtype}
        tokens = torch.randn(1, side**2, pipeline.conditioner.config.feature_channels, **like)
        latents, timestep = torch.randn(batch, 4, side, side, **like), torch.tensor(500, device=pipeline.device)
        self.form = pipeline.inference_form.for_images(torch.randn(1, 4, side, side, **like), tokens)
        self.run: Callable[[], Any] = lambda: pipeline.unet(latents, timestep, encoder_hidden_states=tokens)


def _seconds(work: Callable[[], Any]) -> float:
    began = now()
    work()
    return now() - began


def operations(size: Size, batch: int) -> int:
    """Of a pass as we do it, counted on torch's device without values."""
    with torch.device("meta"):
        pipeline = build_pipeline(size)
        step = _Step(pipeline, batch)
    with step.form, FlopCounterMode(display=False) as counter:
        step.run()
    return int(counter.get_total_flops())
