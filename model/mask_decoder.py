"""The mask decoder: paints saliency from latents with a fraction of the VAE decoder's arithmetic.

A VAE paints three channels of detail that a mask does not have. This one paints one channel, and does most of its work
where latents are: at 1/8 of the size, then less at 1/4, little at 1/2; the last doubling is the output itself. It is
distilled from a VAE (`pipeline/distillation/`) and is no use beside another one.

Source: the sub-pixel convolution of Shi et al. 2016, arXiv:1609.05158; residual blocks as in diffusers' VAE.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from model.decoder_choice import Agreement, Stated

DecoderSize = Literal["small", "full"]
_LEVELS = 3
_LARGE_VAE_CHANNELS = 256
"""From so many channels on, a VAE's latents take the larger decoder."""
_PRESETS: dict[DecoderSize, dict[str, Any]] = {
    # 0.97 GFLOP per member at 192 px; the decoder of the nano VAE has 3.7, 3.0 in its inference form.
    "small": {"channels": (64, 48, 24), "blocks": (4, 2, 1), "norm_num_groups": 8},
    # 72 GFLOP per member at 384 px; the decoder of Stable Diffusion's VAE has 1,406.
    "full": {"channels": (256, 128, 64), "blocks": (6, 4, 3), "norm_num_groups": 32},
}


class MaskDecoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Latents to one channel in the VAE's range of masks.

    Args:
        channels: at 1/8, 1/4 and 1/2 of the size; three numbers.
        blocks: residual blocks there.
        norm_num_groups: groups of the norms at 1/8, by which a place learns of the whole map, as in the VAE.
        latent_channels: channels of the latents.
        agreement, distilled_from: see `model/decoder_choice.py`; None: not measured yet, and not known.
    Raises: ValueError: there are not three levels, or what is stated can't be.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        channels: Sequence[int] = (64, 48, 24),
        blocks: Sequence[int] = (4, 2, 1),
        norm_num_groups: int = 8,
        latent_channels: int = 4,
        agreement: Sequence[Mapping[str, Any]] | None = None,
        distilled_from: str | None = None,
    ) -> None:
        super().__init__()
        if not len(channels) == len(blocks) == _LEVELS:
            raise ValueError(f"channels and blocks must have {_LEVELS} numbers each: {channels}, {blocks}")
        Stated.of(agreement, distilled_from)
        layers: list[nn.Module] = [nn.Conv2d(latent_channels, channels[0], 3, padding=1)]
        for level, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            if level:
                layers += [nn.Conv2d(channels[level - 1], 4 * width, 1), nn.PixelShuffle(2)]
            # Norms above cost more time than their convolutions, and the maps there follow from those below.
            layers += [_Residual(width, norm_num_groups if level == 0 else None) for _ in range(count)]
        layers += [nn.SiLU(), nn.Conv2d(channels[-1], 4, 3, padding=1), nn.PixelShuffle(2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 8*h 8*w"]:
        """Paint.

        Args:    latents: scaled, as the pipeline has them.
        Returns: values to be clipped to the masks' range of [-1, 1], like those of the VAE.
        """
        painted: Tensor = self.layers(latents)
        return painted

    @property
    def stated(self) -> Stated:
        """What was measured when it was distilled, and from which VAE."""
        return Stated.of(self.config.agreement, self.config.distilled_from)

    def state(self, agreement: Sequence[Agreement], distilled_from: str | None) -> None:
        """State what was measured, and the VAE's digest; `save_pretrained` writes it down."""
        self.register_to_config(agreement=[one.as_fields() for one in agreement], distilled_from=distilled_from)


class _Residual(nn.Module):
    """Adds two 3 x 3 convolutions of a map to it."""

    def __init__(self, channels: int, groups: int | None) -> None:
        super().__init__()
        self.norm = nn.Identity() if groups is None else nn.GroupNorm(groups, channels)
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.convolutions(self.norm(x))  # type: ignore[no-any-return]


def size_for(vae: AutoencoderKL) -> DecoderSize:
    """The preset for a VAE of that width."""
    return "full" if max(vae.config.block_out_channels) >= _LARGE_VAE_CHANNELS else "small"


def seeded_mask_decoder(seed: int, size: DecoderSize, latent_channels: int = 4) -> MaskDecoder:
    """A decoder whose random weights follow from a seed; the global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_mask_decoder(size, latent_channels)


def build_mask_decoder(size: DecoderSize, latent_channels: int = 4) -> MaskDecoder:
    """A decoder with random weights, from torch's global generator, in evaluation mode."""
    decoder: MaskDecoder = MaskDecoder(**_PRESETS[size], latent_channels=latent_channels)
    decoder.eval()
    return decoder
