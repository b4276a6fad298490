"""How a mask decoder's maps compare with the VAE's own, on maps that no distillation learns from."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from model.decoder_choice import Agreement
from model.diffusion import SODDiffusionPipeline
from pipeline.distillation.labelled import at_once, label
from pipeline.evaluation.measures import Metric, measure

HELD_OUT_SEED = 2**62
"""Of the maps that are held out, whatever the seed of the distillation."""
_DIGITS = 6
_METRICS: tuple[Metric, ...] = ("s_measure",)


def measure_agreement(pipeline: SODDiffusionPipeline, maps: int) -> Agreement:
    """Compare the pipeline's two decoders at the size that it was trained for.

    Args: pipeline: with a mask decoder, on any device; it is left decoding with that one.
    """
    found = [_compare(own, vaes) for own, vaes in _painted(pipeline, maps)]
    iou, mae, s_measure = (round(float(np.mean(values)), _DIGITS) for values in zip(*found, strict=True))
    return Agreement(iou=iou, mae=mae, s_measure=s_measure, maps=maps)


@torch.inference_mode()
def _painted(pipeline: SODDiffusionPipeline, maps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per map: what the mask decoder paints, and what the VAE does; float32 [PH, PW]."""
    pipeline.decode_with("vae")
    side_px = pipeline.default_processing_res // 8 * 8
    latents = label(pipeline, side_px, maps, HELD_OUT_SEED, "held out").latents
    for part in torch.split(latents.float(), at_once(side_px)):
        shown = part.to(pipeline.device)
        pipeline.decode_with("vae")
        vaes = _array(pipeline.decode(shown))
        pipeline.decode_with("mask")
        yield from zip(_array(pipeline.decode(shown)), vaes, strict=True)


def _compare(own: np.ndarray, vaes: np.ndarray) -> tuple[float, float, float]:
    """IoU, mean absolute difference, S-measure."""
    ours, theirs = own > 0.5, vaes > 0.5
    union = np.count_nonzero(ours | theirs)
    iou = np.count_nonzero(ours & theirs) / union if union else 1.0
    s_measure = measure(ours.astype(np.uint8) * 255, theirs, metrics=_METRICS, normalize=False).s_measure
    return iou, float(np.abs(own - vaes).mean()), float(s_measure or 0.0)


def _array(maps: Float[Tensor, "b ph pw"]) -> np.ndarray:
    array: np.ndarray = maps.float().cpu().numpy()
    return array
