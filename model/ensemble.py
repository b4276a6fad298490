"""The ensemble members of one image to its saliency map and variance map."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from model.prediction import ModelOutputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """What E members say together; float32."""

    saliency: Float[Tensor, "h w"]
    """Mean over the members, in [0, 1]."""
    variance: Float[Tensor, "h w"]
    """Population variance over the members, in [0, 0.25]."""


def reduce_members(members: Float[Tensor, "e h w"]) -> Ensemble:
    """Mean and variance maps of the E ensemble members of one image.

    Args:    members: in [0, 1], E >= 2.
    Returns: mean and variance; the variance divides by E, so its bound of 0.25 does not move with E.
    Raises:  ModelOutputError: a value is NaN or outside [0, 1], or E < 2.
    Source:  test-time ensembling of Ke et al. 2024, arXiv:2312.02145.
    """
    if members.shape[0] < 2:
        raise ModelOutputError(f"{members.shape[0]} ensemble member; at least 2 are needed for a variance")
    low, high = members.min().item(), members.max().item()
    if not (low >= 0 and high <= 1):  # written so that NaN is caught
        raise ModelOutputError(f"members lie in [{low}, {high}]; saliency maps lie in [0, 1]")
    members = members.float()
    saliency = members.mean(0).clamp(0, 1)  # the float32 mean of equal values can be one ulp off
    variance = torch.square(members - saliency).mean(0).clamp(0, 0.25)
    return Ensemble(saliency=saliency, variance=variance)
