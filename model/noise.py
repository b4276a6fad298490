"""Where the noise of ensemble members comes from: the run's seed and the image's key, or the caller's generator."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator] | None
Draw = Callable[[Sequence[int], range, Tensor], Tensor]
"""(images, member numbers, latents of their form) → latents of these members, image by image: [N E, 4, h, w]."""


def initial_latents(seed: int, shape: tuple[int, int, int]) -> Float[Tensor, "c h w"]:
    """Standard normal latents, float32, drawn on the CPU so that every device starts from the same values."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def draw_for(images: int, members: int, *, generator: Any, latents: Any) -> Draw:
    """The noise of a call: the caller's latents, or what the caller's generator draws.

    Raises: TypeError, ValueError: both are given, or one is not for so many images and members.
    """
    if latents is None:
        _require_generator(generator, images, members)
        return _drawn_by(generator, images)
    if generator is not None:
        raise ValueError("latents and generator are both given; give one of them, since both are the members' noise")
    _require_latents(latents, images, members)
    return _given_as(latents, members)


def _require_generator(generator: Any, images: int, members: int) -> None:
    """Refuse what is neither a generator nor a list with one for each image or for each member of each image.

    Raises: TypeError, ValueError: the message has the numbers that fit.
    """
    several = generator if isinstance(generator, list | tuple) else [generator]
    if any(not isinstance(one, torch.Generator) for one in several) and generator is not None:
        raise TypeError(
            f"generator is of type {type(generator).__name__}; give torch.Generator().manual_seed(0), or a list of such"
        )
    if isinstance(generator, list | tuple) and len(generator) not in (images, images * members):
        raise ValueError(
            f"generator has {len(generator)} generators; give one for each of the {images} images, or one for each of "
            f"their {images * members} members"
        )


def _require_latents(latents: Any, images: int, members: int) -> None:
    """Refuse latents that are not those of all members.

    Raises: TypeError, ValueError: they are no tensor, or of another number.
    """
    if not isinstance(latents, Tensor):
        raise TypeError(f"latents is of type {type(latents).__name__}; give a tensor of (images x members, 4, h, w)")
    if latents.ndim != 4 or len(latents) != images * members:
        raise ValueError(
            f"latents has the shape {tuple(latents.shape)}; it must be ({images * members}, 4, h, w): {images} images "
            f"with {members} members each, an eighth of the processing resolution"
        )


def _drawn_by(generator: Generators, images: int) -> Draw:
    """Noise of the caller's generator; without one, of torch's global one. A list has one for each image or member."""

    def draw(chosen: Sequence[int], numbers: range, like: Tensor) -> Tensor:
        shape = (len(numbers), *like.shape[1:])
        draws = [
            randn_tensor(shape, generator=of_image(image), device=like.device, dtype=like.dtype) for image in chosen
        ]
        return torch.cat(draws)

    def of_image(image: int) -> Any:
        if not isinstance(generator, list | tuple):
            return generator
        each = len(generator) // images
        return generator[image] if each == 1 else list(generator[image * each : (image + 1) * each])

    return draw


def _given_as(latents: Float[Tensor, "ne 4 h w"], members: int) -> Draw:
    """Noise that the caller has drawn."""

    def draw(chosen: Sequence[int], numbers: range, like: Tensor) -> Tensor:
        if latents.shape[1:] != like.shape[1:]:
            raise ValueError(f"latents has the shape {tuple(latents.shape)}; images have {tuple(like.shape[1:])} each")
        places = [image * members + number for image in chosen for number in numbers]
        return latents[places].to(like)

    return draw
