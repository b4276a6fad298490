"""What we are measured against: the loop that the reference and diffusers' pipelines run anew for every member."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.diffusion import SODDiffusionPipeline
from model.geometry import preprocess
from model.noise import initial_latents
from model.seeds import member_seed


@torch.inference_mode()
def members_one_by_one(
    pipeline: SODDiffusionPipeline, image: UInt8[np.ndarray, "_h _w 3"], key: str, members: int, steps: int
) -> Float[Tensor, "e ph pw"]:
    """The members of one image: each encodes the image, conditions on it, denoises and decodes, with plain networks.

    The reference also reads a checkpoint from the disk for every image; that is left out.
    """
    return torch.cat([_member(pipeline, image, member_seed(0, key, number), steps) for number in range(members)])


def _member(
    pipeline: SODDiffusionPipeline, image: UInt8[np.ndarray, "_h _w 3"], seed: int, steps: int
) -> Float[Tensor, "1 ph pw"]:
    vae, unet, scheduler = pipeline.vae, pipeline.unet, pipeline.scheduler
    pixels = preprocess([image], pipeline.default_processing_res).to(pipeline.device, unet.dtype)
    image_latents = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    context = pipeline.conditioner(pixels).context
    latents = initial_latents(seed, image_latents.shape[1:])[None].to(image_latents)
    scheduler.set_timesteps(steps, device=latents.device)
    for timestep in scheduler.timesteps[:steps]:
        both = torch.cat([image_latents, latents], dim=1)
        output = unet(both, timestep, encoder_hidden_states=context).sample
        latents = scheduler.step(output, timestep, latents).prev_sample
    decoded: Tensor = vae.decode(latents / vae.config.scaling_factor).sample.mean(dim=1)
    return (decoded.clamp(-1, 1) + 1) / 2
