"""From images to their members and predictions, in numbered steps; the networks are a `SODDiffusionPipeline`'s.

Owns what passes through the networks together. Noise comes from `noise.py`, what a step computes from `diffusion.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.axial import image_statistics
from model.config import EnsembleConfig, TimestepSpacing
from model.copies import on_its_way
from model.geometry import preprocess, processed_size, without_padding
from model.noise import Draw
from model.outputs import prediction_of
from model.parts import member_parts
from model.prediction import Enough, Prediction
from model.rounds import rounds
from model.steps import StepWatch


@runtime_checkable
class Networks(Protocol):
    """What is used of a pipeline."""

    unet: Any
    conditioner: Any
    default_processing_res: int

    @property
    def device(self) -> torch.device:
        """Where its networks are."""

    @property
    def inference_form(self) -> Any:
        """See `SODDiffusionPipeline`."""

    def encode(self, pixels: Float[Tensor, "b 3 ph pw"]) -> Float[Tensor, "b 4 h w"]:
        """See `SODDiffusionPipeline`."""

    def decode(self, latents: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b ph pw"]:
        """See `SODDiffusionPipeline`."""

    def denoise(
        self,
        latents: Float[Tensor, "be 4 h w"],
        image_latents: Float[Tensor, "b 4 h w"],
        tokens: Float[Tensor, "b t f"],
        steps: int,
        spacing: TimestepSpacing = "trained",
        *,
        watch: StepWatch | None = None,
    ) -> Float[Tensor, "be 4 h w"]:
        """See `SODDiffusionPipeline`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """N images of one processed size, and what is to be done with them."""

    images: Sequence[UInt8[np.ndarray, "_h _w 3"]]
    places: Sequence[int]
    """Of the images in the call."""
    side_px: int
    at_once: int
    """Images or members that pass through a network together, at most."""
    draw: Draw
    enough: Enough | None
    watch: StepWatch | None


@torch.inference_mode()
def predict_images(
    networks: Networks,
    images: Sequence[UInt8[np.ndarray, "_h _w 3"]],
    ensemble: EnsembleConfig,
    draw: Draw,
    *,
    enough: Enough | None = None,
    watch: StepWatch | None = None,
) -> list[Prediction]:
    """Predict images of any sizes, in order; those of one processed size together.

    Args: enough: see `SODDiffusionPipeline.predict`. watch: gets to see each step.
    """
    predictions: dict[int, Prediction] = {}
    with networks.inference_form.active():
        for places, side_px in batches(networks, images, ensemble):
            batch = _Batch(
                images=[images[i] for i in places],
                places=places,
                side_px=side_px,
                at_once=ensemble.batch_size or len(places) * ensemble.members,
                draw=draw,
                enough=enough,
                watch=watch,
            )
            for i, members in zip(places, _members(networks, batch, ensemble), strict=True):
                # 7. Reduce the members of one image; resize the maps to the image's own size.
                predictions[i] = prediction_of(members, images[i].shape[:2], ensemble)
    return [predictions[i] for i in range(len(images))]


def batches(
    networks: Networks, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], ensemble: EnsembleConfig
) -> list[tuple[list[int], int]]:
    """Places of images of one processed size, and the side of the squares that they become (0: their own size)."""
    side_px = networks.default_processing_res if ensemble.processing_res is None else ensemble.processing_res
    sizes = [processed_size(image.shape[:2], side_px) for image in images]
    # One, unless images are processed at their own sizes.
    return [([i for i, own in enumerate(sizes) if own == size], side_px) for size in dict.fromkeys(sizes)]


def count_steps(networks: Networks, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], ensemble: EnsembleConfig) -> int:
    """How many steps `predict_images` takes without `enough`: those of an ensemble, once for each part of a batch."""
    members = ensemble.members
    parts = [
        len(list(member_parts(len(places), members, ensemble.batch_size or len(places) * members)))
        for places, _ in batches(networks, images, ensemble)
    ]
    return sum(parts) * ensemble.steps


def _members(networks: Networks, batch: _Batch, ensemble: EnsembleConfig) -> list[Float[Tensor, "_e ph pw"]]:
    """Members of N images of one processed size."""
    # 1. Bring all images to PH x PW pixels; at most `at_once` pass through a network together.
    prepared = preprocess(batch.images, batch.side_px, networks.device)
    pixels = on_its_way(prepared, networks.device, networks.unet.dtype)  # [N, 3, PH, PW]
    parts = torch.split(pixels, batch.at_once)
    # 2. Encode each image once, condition on it once.
    image_latents = torch.cat([networks.encode(part) for part in parts])  # [N, 4, h, w]
    with image_statistics(networks.conditioner, ensemble.batch_stats):
        tokens = torch.cat([networks.conditioner(part).tokens for part in parts])  # [N, T, f]
    members: list[list[Tensor]] = [[] for _ in batch.images]
    going = list(range(len(batch.images)))
    for numbers in rounds(ensemble.members) if batch.enough else [range(ensemble.members)]:
        # 3. Each (image, member) has noise of its own.
        latents = batch.draw([batch.places[i] for i in going], numbers, image_latents)
        # 4. Denoise the members of all images together, in parts of at most `at_once`.
        chosen = going if len(going) < len(batch.images) else slice(None)  # picking by a list would wait for a GPU
        latents = _denoise_in_parts(networks, latents, (image_latents[chosen], tokens[chosen]), batch, ensemble)
        # 5. Decode the members of one image at a time. For four images of the nano model together, allocations
        # were so large that every layer mapped its memory anew (800,000 page faults instead of 4,000): a fifth
        # more time, and 1.8 GB instead of 1.1.
        for image, own_latents in zip(going, torch.split(latents, len(numbers)), strict=True):  # [e, 4, h, w]
            decoded = torch.cat([networks.decode(part) for part in torch.split(own_latents, batch.at_once)])
            members[image].append(without_padding(decoded, batch.images[image].shape[:2], batch.side_px))
        # 6. An image continues until its own members are enough.
        if batch.enough is None or numbers.stop == ensemble.members:
            break
        going = [i for i in going if not batch.enough(torch.cat(members[i]).float().cpu().numpy())]
        if not going:
            break
    return [torch.cat(own) for own in members]


def _denoise_in_parts(
    networks: Networks,
    latents: Float[Tensor, "ne 4 h w"],
    shown: tuple[Float[Tensor, "n 4 h w"], Float[Tensor, "n t f"]],
    batch: _Batch,
    ensemble: EnsembleConfig,
) -> Float[Tensor, "ne 4 h w"]:
    """Denoise the members of N images.

    Args: shown: what the UNet sees of the images: their latents, and the tokens of the conditioner.
    """
    image_latents, tokens = shown
    images = len(image_latents)
    return torch.cat(
        [
            networks.denoise(
                latents[part.members],
                image_latents[part.images],
                tokens[part.images],
                ensemble.steps,
                ensemble.timestep_spacing,
                watch=batch.watch,
            )
            for part in member_parts(images, len(latents) // images, batch.at_once)
        ]
    )
