"""The UNet and VAE of a pipeline in the form that inference runs: the same function with less arithmetic.

What depends on the image alone is computed once for all its members; layers with a cheaper equal are replaced by that.
The networks themselves stay as they are saved and trained: the form is put on for a while, and taken off again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from model.attention import SharedContextAttention, cross_attention_layers
from model.cheaper_layers import MeanConv, MergedUpsample, SplitConv


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cheaper layer goes, and what it stands for."""

    parent: nn.Module
    name: str
    cheaper: MeanConv | MergedUpsample | SplitConv

    def put(self, layer: nn.Module) -> None:
        self.parent._modules[self.name] = layer  # not setattr: names in a list of modules are numbers


class InferenceForm:
    """Cheaper layers for the denoising of saliency latents and for decoding them to one channel.

    Raises: ValueError: the UNet has cross-attention of another kind than Stable Diffusion's.
    """

    def __init__(self, unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
        self.unet, self.vae = unet, vae
        self._attentions = [SharedContextAttention(layer) for layer in cross_attention_layers(unet)]
        self._first = SplitConv(unet.conv_in)
        self._places = [
            _Place(unet, "conv_in", self._first),
            _Place(vae.decoder, "conv_out", MeanConv(vae.decoder.conv_out)),
            *_upsamplers(unet),
            *_upsamplers(vae.decoder),
        ]
        self._entered = 0

    def is_of(self, unet: Any, vae: Any) -> bool:
        """Is it the form of these very networks?"""
        return self.unet is unet and self.vae is vae

    @contextmanager
    def active(self) -> Iterator[None]:
        """Put the form on, with the weights as they are now; within another such block it is on already."""
        if self._entered:
            yield
            return
        before = [layer.layer.processor for layer in self._attentions]
        self._entered += 1
        try:
            for place in self._places:
                place.cheaper.take_over()
                place.put(place.cheaper)
            for attention in self._attentions:
                attention.layer.processor = attention
            yield
        finally:
            for place in self._places:
                place.put(place.cheaper.plain)
                place.cheaper.let_go()
            for attention, processor in zip(self._attentions, before, strict=True):
                attention.layer.processor = processor
            self._entered -= 1

    @contextmanager
    def of_images(self, image_latents: Float[Tensor, "n 4 h w"], tokens: Float[Tensor, "n t f"]) -> Iterator[None]:
        """The same, for N images: the UNet then takes the saliency latents of their members, side by side."""
        with self.active():
            try:
                self._first.set_first(image_latents)
                for attention in self._attentions:
                    attention.attend_to(tokens)
                yield
            finally:
                self._first.forget()
                for attention in self._attentions:
                    attention.forget()


def _upsamplers(network: nn.Module) -> Iterator[_Place]:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if MergedUpsample.stands_for(child):
                yield _Place(parent, name, MergedUpsample(child))
