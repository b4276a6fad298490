"""What a whole ensemble is trained by: its members denoised and decoded as in use, and judged together.

The continuous ranked probability score is smallest in the mean when members are draws from what masks there may be, so
members stay as different as they should be, where an error per member would make all of them the same.

Source: Gneiting and Raftery 2007, doi:10.1198/016214506000001437; "almost fair": Lang et al. 2024, arXiv:2412.15832;
weights near outlines: Wei et al. 2020, arXiv:1911.11445.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from model.diffusion import SODDiffusionPipeline
from model.training import soft_iou_loss

FAIRNESS = 0.95
"""Share of the fair score; at 1, one member could be anything once the others agree with the mask."""
OUTLINE_WEIGHT = 4.0
"""By how much a pixel next to an outline counts for more."""


def denoised(
    pipeline: SODDiffusionPipeline,
    noise: Float[Tensor, "be 4 h w"],
    image_latents: Float[Tensor, "be 4 h w"],
    context: Float[Tensor, "be t d"],
    steps: int,
) -> Float[Tensor, "be 4 h w"]:
    """Latents after all steps, as `SODDiffusionPipeline.denoise` makes them, with a gradient through each step."""
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(steps)
    latents: Tensor = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps[:steps]:
        at = timestep.to(latents.device, non_blocking=True)
        output = pipeline.unet(torch.cat([image_latents, latents], 1), at, encoder_hidden_states=context).sample
        latents = scheduler.step(output.float(), timestep, latents).prev_sample
    return latents


def ensemble_loss(members: Float[Tensor, "b e h w"], masks: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """The almost fair ranked probability score of every pixel, plus 1 - soft IoU of the members' mean.

    Args: members: at least two of each image, in [0, 1]; masks: in [0, 1].
    """
    count = members.shape[1]
    weights = 1 + OUTLINE_WEIGHT * (functional.avg_pool2d(masks, 15, 1, 7) - masks).abs()
    distance = (members - masks).abs().mean(1, keepdim=True)
    spread = (members[:, :, None] - members[:, None]).abs().sum((1, 2))[:, None] / (count * (count - 1))
    fair = FAIRNESS + (1 - FAIRNESS) * (count - 1) / count
    score = (weights * (distance - fair * spread / 2)).sum((1, 2, 3)) / weights.sum((1, 2, 3))
    loss: Tensor = score.mean() + soft_iou_loss(members.mean(1, keepdim=True), masks)
    return loss
