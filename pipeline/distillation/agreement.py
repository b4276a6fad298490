"""How a mask decoder's maps compare with the VAE's own, on maps that no distillation learns from.

Drawn maps need nothing but the model. Photographs show what the decoder will have to paint: the model's own members.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from model.config import EnsembleConfig
from model.decoder_choice import Agreement, MapsOf
from model.diffusion import SODDiffusionPipeline
from pipeline.distillation.labelled import at_once, label, side_of
from pipeline.distillation.photographs import Photograph, spaced
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


Pair = tuple[str, Float32[np.ndarray, "ph pw"], Float32[np.ndarray, "ph pw"]]
"""A map's name, what the mask decoder paints, and what the VAE does."""


def measure_agreement(pipeline: SODDiffusionPipeline, maps: int) -> Measured:
    """Compare the pipeline's two decoders at the size that it was trained for, and on fewer maps at 2/3 and 4/3 of it.

    Args: pipeline: with a mask decoder, on any device; it is left decoding with that one. maps: at the trained size.
    """
    return _measure(pipeline, maps, "drawn", lambda side_px, count: _drawn(pipeline, side_px, count))


def measure_on_photographs(pipeline: SODDiffusionPipeline, photographs: Sequence[Photograph], maps: int) -> Measured:
    """The same of members of photographs: of each as many as make up `maps`, with the steps that the weights take.

    Args: photographs: at least one, all readable; more than `maps` are thinned out.
    """
    return _measure(
        pipeline, maps, "photographs", lambda side_px, count: _members(pipeline, photographs, side_px, count)
    )


def _measure(
    pipeline: SODDiffusionPipeline, maps: int, maps_of: MapsOf, painted: Callable[[int, int], Iterator[Pair]]
) -> Measured:
    own_px = pipeline.default_processing_res // 8 * 8
    counts = {side_of(pipeline.default_processing_res, share): max(1, maps // part) for share, part in _OTHER_SIDES}
    found, worst = [], list[Painted]()
    for side_px, count in sorted((counts | {own_px: maps}).items()):
        measures = []
        for name, own, vaes in painted(side_px, count):
            measures.append(_compare(own, vaes))
            if side_px == own_px:
                one = Painted(name=name, iou=measures[-1][0], own=own, vaes=vaes)
                worst = heapq.nsmallest(WORST, [*worst, one], key=lambda painted: painted.iou)
        iou, mae, s_measure = (round(float(np.mean(values)), _DIGITS) for values in zip(*measures, strict=True))
        found.append(Agreement(side_px=side_px, iou=iou, mae=mae, s_measure=s_measure, maps=count, maps_of=maps_of))
    return Measured(agreement=tuple(found), worst=worst)


def _members(
    pipeline: SODDiffusionPipeline, photographs: Sequence[Photograph], side_px: int, maps: int
) -> Iterator[Pair]:
    chosen = spaced(photographs, maps)
    each, more = divmod(maps, len(chosen))
    counts = [each + (number < more) for number in range(len(chosen))]

    def painted() -> Iterator[Float32[np.ndarray, "e ph pw"]]:
        for photograph, count in zip(chosen, counts, strict=True):
            ensemble = EnsembleConfig(ensemble_size=count, processing_res=side_px, batch_size=at_once(side_px))
            (prediction,) = pipeline.predict([photograph.pixels()], [photograph.key], ensemble)
            yield prediction.members

    # All with the one, then all with the other: a switch takes a digest of the VAE.
    pipeline.decode_with("vae")
    vaes = list(painted())
    pipeline.decode_with("mask", side_px)
    for photograph, own, expected in zip(chosen, painted(), vaes, strict=True):
        for member, pair in enumerate(zip(own, expected, strict=True)):
            yield f"{photograph.name}, member {member}", *pair


@torch.inference_mode()
def _drawn(pipeline: SODDiffusionPipeline, side_px: int, maps: int) -> Iterator[Pair]:
    pipeline.decode_with("vae")
    latents = label(pipeline, side_px, maps, HELD_OUT_SEED, "held out").latents
    parts = torch.split(latents.float(), at_once(side_px))
    vaes = [_array(pipeline.decode(part.to(pipeline.device))) for part in parts]
    pipeline.decode_with("mask")
    own = (_array(pipeline.decode(part.to(pipeline.device))) for part in parts)
    for number, pair in enumerate(zip(chain.from_iterable(own), chain.from_iterable(vaes), strict=True)):
        yield f"map {number}", *pair


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
