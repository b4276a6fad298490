"""Reduce the ensemble members of one image to its saliency map, variance map and uncertainty map."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from model.alignment import FLAT, align, combine
from model.config import Alignment, Reduction
from model.prediction import ModelOutputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Joint result of E members; float32."""

    saliency: Float[Tensor, "h w"]
    """Mean or median of the members, in [0, 1]."""
    variance: Float[Tensor, "h w"]
    """Population variance over the members about their mean, in [0, 0.25]."""
    uncertainty: Float[Tensor, "h w"]
    """Spread of the members around the map, in units of saliency, in [0, 0.5]: for the mean, their standard deviation
    (the root of `variance`); for the median, their median absolute deviation from it. Medians are lower medians."""


def reduce_members(
    members: Float[Tensor, "e h w"],
    *,
    reduction: Reduction = "mean",
    alignment: Alignment = "none",
    stretch: bool = False,
) -> Ensemble:
    """Compute map, variance and uncertainty of the E ensemble members of one image.

    Args:
        members: in [0, 1], E >= 1; for one member, variance and uncertainty are 0.
        reduction, alignment, stretch: see `EnsembleConfig`. Variance and uncertainty are those of the aligned members.
    Returns: the variance divides by E, so its bound of 0.25 does not depend on E.
    Raises:  ModelOutputError: a value is NaN or outside [0, 1], or there are no members.
    Source:  test-time ensembling of Ke et al. 2024, arXiv:2312.02145.
    """
    if not len(members):
        raise ModelOutputError("0 ensemble members; a map needs at least 1")
    low, high = members.min().item(), members.max().item()
    if not (low >= 0 and high <= 1):  # written so that NaN is caught
        raise ModelOutputError(f"members lie in [{low}, {high}]; saliency maps lie in [0, 1]")
    aligned = members.float() if alignment == "none" else align(members, alignment, reduction)
    return reduce_aligned(aligned, reduction=reduction, stretch=stretch)


def reduce_aligned(aligned: Float[Tensor, "e h w"], *, reduction: Reduction, stretch: bool) -> Ensemble:
    """Compute map, variance and uncertainty of members on one scale; members outside [0, 1] lead to clipped results.

    `stretch` scales the map to [0, 1], and the distances with it. A flat map stays: stretched it would be noise.
    """
    saliency = combine(aligned, reduction)
    low, span = saliency.min().item(), (saliency.max() - saliency.min()).item()
    if not (stretch and span > FLAT):
        low, span = 0.0, 1.0
    variance = ((aligned - aligned.mean(0)).square_().mean(0) / span**2).clamp(0, 0.25)
    if reduction == "mean":
        uncertainty = variance.sqrt()
    else:
        uncertainty = (torch.abs(aligned - saliency).median(0).values / span).clamp(0, 0.5)
    return Ensemble(saliency=((saliency - low) / span).clamp(0, 1), variance=variance, uncertainty=uncertainty)
