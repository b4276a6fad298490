"""How a mask decoder's maps compare with the VAE's own, on maps that no distillation learns from."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from model.decoder_choice import Agreement
from model.diffusion import SODDiffusionPipeline
from pipeline.distillation.labelled import at_once, label, side_of
from pipeline.distillation.worst import WORST, Painted
from pipeline.evaluation.measures import Metric, measure

HELD_OUT_SEED = 2**62
"""Of the maps that are held out, whatever the seed of the distillation."""
_OTHER_SIDES = ((2 / 3, 4), (4 / 3, 4))
"""Sides that are measured too, as shares of the trained one, and of how many maps one is compared there: these sides
have .56 times the pixels of the trained one, together."""
_DIGITS = 6
_METRICS: tuple[Metric, ...] = ("s_measure",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a comparison found."""

    agreement: Sequence[Agreement]
    """One for each side, the smallest first."""
    worst: Sequence[Painted]
    """Those of the trained side whose masks agree least, the worst first."""


def measure_agreement(pipeline: SODDiffusionPipeline, maps: int) -> Measured:
    """Compare the pipeline's two decoders at the size that it was trained for, and on fewer maps at 2/3 and 4/3 of it.

    Args: pipeline: with a mask decoder, on any device; it is left decoding with that one. maps: at the trained size.
    """
    own_px = pipeline.default_processing_res // 8 * 8
    counts = {side_of(pipeline.default_processing_res, share): max(1, maps // part) for share, part in _OTHER_SIDES}
    found, worst = [], list[Painted]()
    for side_px, count in sorted((counts | {own_px: maps}).items()):
        measures = []
        for number, (own, vaes) in enumerate(_painted(pipeline, side_px, count)):
            measures.append(_compare(own, vaes))
            if side_px == own_px:
                one = Painted(name=f"map {number}", iou=measures[-1][0], own=own, vaes=vaes)
                worst = heapq.nsmallest(WORST, [*worst, one], key=lambda painted: painted.iou)
        iou, mae, s_measure = (round(float(np.mean(values)), _DIGITS) for values in zip(*measures, strict=True))
        found.append(Agreement(side_px=side_px, iou=iou, mae=mae, s_measure=s_measure, maps=count))
    return Measured(agreement=tuple(found), worst=worst)


@torch.inference_mode()
def _painted(
    pipeline: SODDiffusionPipeline, side_px: int, maps: int
) -> Iterator[tuple[Float32[np.ndarray, "px px"], Float32[np.ndarray, "px px"]]]:
    """Per map: what the mask decoder paints, and what the VAE does."""
    pipeline.decode_with("vae")
    latents = label(pipeline, side_px, maps, HELD_OUT_SEED, "held out").latents
    parts = torch.split(latents.float(), at_once(side_px))
    vaes = [_array(pipeline.decode(part.to(pipeline.device))) for part in parts]
    pipeline.decode_with("mask")
    for part, expected in zip(parts, vaes, strict=True):
        yield from zip(_array(pipeline.decode(part.to(pipeline.device))), expected, strict=True)


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
