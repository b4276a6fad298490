"""Run a pipeline's UNet and VAE with less arithmetic during inference, for the same result.

Whatever depends only on the image is computed once for all its members, and layers with a cheaper equivalent are
replaced. The replacement is temporary: saving and training see the networks' own layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from model.attention import SharedContextAttention, cross_attention_layers
from model.cheaper_layers import MeanConv, MergedUpsample, SplitConv, WideGroupNorm


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a cheaper layer goes."""

    parent: nn.Module
    name: str
    cheaper: MeanConv | MergedUpsample | SplitConv | WideGroupNorm

    def put(self, layer: nn.Module) -> None:
        self.parent._modules[self.name] = layer  # not setattr: names in a list of modules are numbers


class InferenceForm:
    """Cheaper layers for denoising saliency latents and for decoding them to one channel.

    Raises: ValueError: the UNet's cross-attention is not of Stable Diffusion's kind.
    """

    def __init__(self, unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
        self.unet, self.vae = unet, vae
        self._attentions = [SharedContextAttention(layer) for layer in cross_attention_layers(unet)]
        self._first = SplitConv(unet.conv_in)
        self._slots = [
            _Slot(unet, "conv_in", self._first),
            _Slot(vae.decoder, "conv_out", MeanConv(vae.decoder.conv_out)),
            *_upsamplers(unet),
            *_upsamplers(vae.decoder),
            *_norms(unet),
            *_norms(vae.decoder),
        ]
        self._entered = 0

    def belongs_to(self, unet: Any, vae: Any) -> bool:
        """Whether it was made for exactly these networks."""
        return self.unet is unet and self.vae is vae

    @contextmanager
    def active(self) -> Iterator[None]:
        """Use the cheaper layers, with the current weights, inside the block; nested blocks have no further effect."""
        if self._entered:
            yield
            return
        before = [layer.layer.processor for layer in self._attentions]
        self._entered += 1
        try:
            for slot in self._slots:
                slot.cheaper.merge_weights()
                slot.put(slot.cheaper)
            for attention in self._attentions:
                attention.layer.processor = attention
            yield
        finally:
            self._entered -= 1  # first: whatever else fails, the next block begins anew
            for slot in self._slots:
                slot.put(slot.cheaper.plain)
                slot.cheaper.free()
            for attention, processor in zip(self._attentions, before, strict=True):
                attention.layer.processor = processor

    @contextmanager
    def for_images(self, image_latents: Float[Tensor, "n 4 h w"], tokens: Float[Tensor, "n t f"]) -> Iterator[None]:
        """Activate the form for N images: the UNet then takes only their members' saliency latents, image by image."""
        with self.active():
            try:
                self._first.set_first(image_latents)
                for attention in self._attentions:
                    attention.attend_to(tokens)
                yield
            finally:
                self._first.free()
                for attention in self._attentions:
                    attention.free()


def _upsamplers(network: nn.Module) -> Iterator[_Slot]:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if MergedUpsample.can_replace(child):
                yield _Slot(parent, name, MergedUpsample(child))


def _norms(network: nn.Module) -> Iterator[_Slot]:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.GroupNorm:
                yield _Slot(parent, name, WideGroupNorm(child))
