"""The conditioner: turns an RGB image into the tokens that the UNet attends to.

A timm backbone gives features at strides 8, 16 and 32; axial encoders and a decoder turn them into one 64-channel
map. diffusers implements the UNet's side of the cross-attention.
Source: SOD-diffusion, Computer Graphics Forum 43(7), e15251, 2024 (there with Swin-B).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from model.axial import AxialDecoder, AxialEncoder
from model.network_config import require_backbone
from model.swin import take_any_size

STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """The conditioner's output for B images."""

    features: Float[Tensor, "b f h w"]
    """The map at 1/8 of the images' height and width, rounded up."""
    side_logits: Float[Tensor, "b 1 h w"]
    """The decoder's own estimate of the saliency map, before the sigmoid; only training uses it."""
    tokens: Float[Tensor, "b t f"]
    """One token per position of the map, in row order."""
    repeats: int
    """How often each token's channels are repeated in the context."""

    @property
    def context(self) -> Float[Tensor, "b t d"]:
        """The tokens in the form that the UNet's cross-attention was trained on."""
        return self.tokens.repeat(1, 1, self.repeats)


class SaliencyConditioner(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Backbone, axial encoders and decoder, context tokens.

    Args:
        backbone_name: name of a timm model that can return feature maps; created with random weights.
        backbone_args: further arguments of that timm model, of those in `network_config.BACKBONE_ARGUMENTS`.
        feature_channels: channels of the map.
        context_repeats: how often a token's channels are repeated to fill the UNet's `cross_attention_dim`.
        normalise_features: apply a LayerNorm over the channels of each backbone feature map (transformers need it).
        position_code: add a fixed sine-cosine code of row and column; without it tokens carry no position.
        image_mean, image_std: three numbers each, for values in [0, 1]; the image is normalised by them first.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        backbone_name: str,
        backbone_args: Mapping[str, Any] | None = None,
        feature_channels: int = 64,
        context_repeats: int = 1,
        normalise_features: bool = False,
        position_code: bool = False,
        image_mean: Sequence[float] = (0.0, 0.0, 0.0),
        image_std: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.backbone: Any = _feature_backbone(backbone_name, dict(backbone_args or {}))
        widths: list[int] = self.backbone.feature_info.channels()
        self.norms = nn.ModuleList(nn.LayerNorm(width) if normalise_features else nn.Identity() for width in widths)
        self.encoders = nn.ModuleList(AxialEncoder(width, feature_channels) for width in widths)
        self.decoder = AxialDecoder(feature_channels)
        self.register_buffer("mean", torch.tensor(image_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(image_std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "b 3 ph pw"]) -> Conditioning:
        """Compute the conditioning of B images of any height and width; values in [0, 1]."""
        encoded = []
        for feature, norm, encoder in zip(self.backbone_features(images), self.norms, self.encoders, strict=True):
            if self.config.normalise_features:
                feature = norm(feature).permute(0, 3, 1, 2).contiguous()
            encoded.append(encoder(feature))
        features, side_logits = self.decoder(encoded[::-1])  # coarse first
        return Conditioning(
            features=features,
            side_logits=side_logits,
            tokens=self._tokens(features),
            repeats=self.config.context_repeats,
        )

    def backbone_features(self, images: Float[Tensor, "b 3 ph pw"]) -> list[Tensor]:
        """Feature maps at strides 8, 16, 32: channels last if a LayerNorm follows, else channels first."""
        features: list[Tensor] = self.backbone((images - self.mean) / self.std)
        channels_last = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"
        wanted_last = bool(self.config.normalise_features)
        if channels_last == wanted_last:
            return features
        return [x.permute(0, 3, 1, 2) if channels_last else x.permute(0, 2, 3, 1) for x in features]

    def _tokens(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b t f"]:
        if self.config.position_code:
            _, channels, height, width = features.shape
            features = features + position_code(channels, height, width).to(features)
        return features.flatten(2).transpose(1, 2)


def position_code(channels: int, height: int, width: int) -> Float[Tensor, "1 c h w"]:
    """Sines and cosines of the row (first half of the channels) and of the column (second half).

    Frequencies grow geometrically from half a period over the whole map. Positions are relative to the map's size, so a
    place has the same code at every resolution that has a cell centre there.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5, in two dimensions.
    """
    octaves = torch.arange(channels // 4, dtype=torch.float64) / (channels // 4)
    frequencies = torch.pi * 16.0**octaves  # [c/4], half a period to eight periods over the map

    def axis_code(positions: int) -> Tensor:
        places = (torch.arange(positions, dtype=torch.float64) + 0.5) / positions
        phases = frequencies[:, None] * places[None, :]
        return torch.cat([phases.sin(), phases.cos()])  # [c/2, positions]

    rows = axis_code(height)[:, :, None].expand(-1, -1, width)
    columns = axis_code(width)[:, None, :].expand(-1, height, -1)
    return torch.cat([rows, columns])[None].float()


def _feature_backbone(name: str, arguments: dict[str, Any]) -> Any:
    """The timm model reduced to its last three feature maps, with random weights; nothing is read or downloaded.

    Raises: ValueError: the name is an address or unknown, or an argument could load something.
    """
    require_backbone(name, arguments)
    backbone = timm.create_model(name, features_only=True, pretrained=False, out_indices=(-3, -2, -1), **arguments)
    reductions = tuple(backbone.feature_info.reduction())
    if reductions != STRIDES:
        raise ValueError(f"backbone {name!r} ends in feature maps at strides {reductions}; {STRIDES} are needed")
    take_any_size(backbone)
    return backbone
