"""One training step of the whole model: what learns, what is frozen, and the loss.

The loop belongs to `pipeline/training/`.

Source: SOD-diffusion, Computer Graphics Forum 43(7), e15251, 2024, and its released training code.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.config import LossConfig
from model.diffusion import SODDiffusionPipeline
from model.training import auxiliary_loss, diffusion_loss, stretched

AUXILIARY_CHANNELS = 3
"""Output channels of the convolution that only the auxiliary loss uses, as in the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLosses:
    """Losses of a batch: scalars."""

    diffusion: Float[Tensor, ""]
    """Squared error of the UNet's output."""
    auxiliary: Float[Tensor, ""]
    """Squared error of a convolution of the conditioner's features, unweighted; detached."""
    total: Float[Tensor, ""]
    """The loss to minimise."""


class FineTuning(nn.Module):
    """The networks that learn (UNet, conditioner, auxiliary convolution) as one module, for one optimiser.

    The VAE encodes without gradients and is not part of it.
    """

    def __init__(self, pipeline: SODDiffusionPipeline, losses: LossConfig, *, conditioner_learns: bool = True) -> None:
        super().__init__()
        self.conditioner_learns = conditioner_learns
        self.pipeline = pipeline
        self.losses = losses
        self.unet: nn.Module = pipeline.unet
        self.conditioner: nn.Module = pipeline.conditioner
        channels = pipeline.conditioner.config.feature_channels
        self.auxiliary_head = nn.Conv2d(channels, AUXILIARY_CHANNELS, 3, padding=1)
        if losses.auxiliary_init == "kaiming":
            nn.init.kaiming_normal_(self.auxiliary_head.weight)
        pipeline.vae.eval().requires_grad_(False)
        self.unet.requires_grad_(True)
        self.conditioner.requires_grad_(conditioner_learns)

    def train(self, mode: bool = True) -> "FineTuning":
        """Set the mode as torch does, but keep the backbone's batch norm frozen: small batches would spoil it."""
        super().train(mode)
        self.conditioner.train(mode and self.conditioner_learns)
        for layer in self.pipeline.conditioner.backbone.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self

    def forward(self, images: Float[Tensor, "b 3 p p"], masks: Float[Tensor, "b 1 p p"], seed: int) -> StepLosses:
        """Compute the losses of a batch; images and masks in [0, 1], noise and timesteps from `seed`."""
        if self.losses.mask_range == "batch":
            masks = stretched(masks)
        with torch.no_grad():
            image_latents = self.pipeline.encode(images)
            mask_latents = self.pipeline.encode((masks * 2 - 1).expand(-1, 3, -1, -1))
        conditioning = self.conditioner(images)
        generator = torch.Generator().manual_seed(seed)
        diffusion = diffusion_loss(
            self.pipeline, image_latents, mask_latents, conditioning.context, generator, self.losses
        )
        auxiliary = auxiliary_loss(self.auxiliary_head, conditioning.features, masks, self.losses.auxiliary_resize)
        return StepLosses(
            diffusion=diffusion,
            auxiliary=auxiliary.detach(),
            total=diffusion + self.losses.auxiliary_weight * auxiliary,
        )
