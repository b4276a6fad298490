"""What a mask decoder minimises: differences of values and of edges, and of the masks at 0.5."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_SHARPNESS = 20.0
"""Slope at 0.5 of the soft masks: values from .4 to .6 count as undecided."""


def distillation_loss(painted: Float[Tensor, "b 1 ph pw"], maps: Float[Tensor, "b ph pw"]) -> Float[Tensor, ""]:
    """Absolute error of the values and of their edges, plus 1 - IoU of the masks, softly at 0.5.

    Where the map is 0 or 1, the VAE was clipped; being beyond counts nothing there.

    Args: painted: in the range of masks, [-1, 1], not clipped. maps: saliency in [0, 1].
    """
    guess = (painted[:, 0] + 1) / 2
    guess = torch.where(maps <= 0, guess.clamp(min=0), torch.where(maps >= 1, guess.clamp(max=1), guess))
    values = functional.l1_loss(guess, maps)
    edges = sum(functional.l1_loss(guess.diff(dim=axis), maps.diff(dim=axis)) for axis in (1, 2))
    ours, theirs = (torch.sigmoid(_SHARPNESS * (one - 0.5)) for one in (guess, maps))
    shared, union = torch.minimum(ours, theirs).sum((1, 2)), torch.maximum(ours, theirs).sum((1, 2))
    masks = (1 - (shared + 1) / (union + 1)).mean()
    return values + edges + masks
