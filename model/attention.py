"""Cross-attention to the conditioner's tokens, shared by all members of an image.

A token depends on neither member nor timestep, so its keys and values are computed once per image, and the queries of
all members attend to them in one call. If the UNet was trained on tokens that repeat their channels, projecting the
repeated vector equals projecting the plain one with the summed blocks of the weight.
Source: the interaction that SOD-diffusion calls AFIM, Computer Graphics Forum 43(7), e15251, 2024.
"""

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.config import AttentionKernels

_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


class SharedContextAttention:
    """Processor of one cross-attention layer while the members of some images are denoised."""

    def __init__(self, layer: Attention) -> None:
        self.layer = layer
        self._keys = self._values = torch.empty(0)

    def attend_to(self, tokens: Float[Tensor, "n t f"]) -> None:
        """Project the tokens of N images once, for all their members and steps."""
        self._keys, self._values = (
            _heads(functional.linear(tokens, folded(projection.weight, tokens.shape[-1]), projection.bias), self.layer)
            for projection in (self.layer.to_k, self.layer.to_v)
        )

    def free(self) -> None:
        """Free the keys and values."""
        self._keys = self._values = torch.empty(0)

    def __call__(
        self, layer: Attention, hidden_states: Float[Tensor, "m l c"], *_: Any, **__: Any
    ) -> Float[Tensor, "m l c"]:
        """Attend from L positions of M members, those of one image adjacent; follows diffusers' processor protocol."""
        images = len(self._keys)
        queries = layer.to_q(hidden_states)
        queries = _heads(queries.reshape(images, -1, queries.shape[-1]), layer)  # [N, heads, E*L, d]
        attended = functional.scaled_dot_product_attention(queries, self._keys, self._values)
        attended = attended.transpose(1, 2).reshape(*hidden_states.shape[:2], -1)  # [N*E, L, C]
        result: Tensor = layer.to_out[0](attended)  # to_out[1] is dropout
        return result


def cross_attention_layers(unet: UNet2DConditionModel) -> list[Attention]:
    """The layers that attend to the context.

    Raises: ValueError: a layer does more than project, attend and project; no UNet of Stable Diffusion's does.
    """
    layers = {
        name: layer for name, layer in unet.named_modules() if isinstance(layer, Attention) and layer.is_cross_attention
    }
    for name, layer in layers.items():
        extras = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k", "added_kv_proj_dim")
        found = [extra for extra in extras if getattr(layer, extra, None) is not None]
        if found or layer.residual_connection or layer.rescale_output_factor != 1:
            raise ValueError(f"unet layer {name} has {found or 'a residual'}; members can't share its context")
    return list(layers.values())


def kernels(attention: AttentionKernels) -> AbstractContextManager[None]:
    """Restrict attention to one kind of kernel inside the block; `auto` leaves the choice to torch."""
    if attention == "auto":
        return contextlib.nullcontext()
    only: AbstractContextManager[None] = sdpa_kernel(_KERNELS[attention])
    return only


def require_kernels(attention: AttentionKernels, unet: UNet2DConditionModel) -> None:
    """Refuse kernels that the UNet's device lacks for the UNet's head widths and precision.

    Raises: ValueError: the device has no such kernels.
    """
    layers = [layer for layer in unet.modules() if isinstance(layer, Attention)]
    for width in sorted({layer.to_q.out_features // layer.heads for layer in layers}):
        trial = torch.zeros(1, 1, 8, width, device=unet.device, dtype=unet.dtype)
        try:
            with kernels(attention):
                functional.scaled_dot_product_attention(trial, trial, trial)
        except RuntimeError as error:
            raise ValueError(
                f"attention is {attention!r}: no such kernels exist for {unet.device.type}, {str(unet.dtype)[6:]} "
                f"and heads of {width} channels; choose one of {', '.join(('auto', *_KERNELS))}"
            ) from error


def folded(weight: Float[Tensor, "c rf"], channels: int) -> Float[Tensor, "c f"]:
    """The weight that gives for a vector of `channels` values what `weight` gives for the vector repeated."""
    if weight.shape[1] == channels:
        return weight
    return weight.view(len(weight), -1, channels).sum(1)  # torch sums half precision in float32 too, and rounds once


def _heads(features: Float[Tensor, "n t c"], layer: Attention) -> Float[Tensor, "n heads t d"]:
    heads: int = layer.heads
    return features.view(*features.shape[:2], heads, -1).transpose(1, 2)
