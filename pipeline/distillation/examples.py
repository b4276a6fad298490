"""Examples where the training is: on the GPU if they fit there, and drawn so that nobody waits for it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from model.memory import free_bytes
from pipeline.distillation.labelled import Labelled

_SHARE_OF_FREE = 0.5
"""Of a GPU's free memory that examples may take; the rest is for the training. 4096 maps and
their latents are 0.33 GB for a model of 192 px, and 1.3 GB for one of 384."""


def placed(parts: Sequence[Labelled], device: torch.device) -> Sequence[Labelled]:
    """The same on the device, if it is a GPU with room for all of them."""
    taken = sum(values.nbytes for part in parts for values in (part.latents, part.maps))
    if device.type != "cuda" or taken > _SHARE_OF_FREE * free_bytes(device):
        return parts
    return [Labelled(part.latents.to(device), part.maps.to(device)) for part in parts]


def drawn_batch(
    parts: Sequence[Labelled], count: int, generator: torch.Generator, device: torch.device
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b ph pw"]]:
    """Latents and maps of `count` examples of one part, float32 on the device; the same wherever the parts are."""
    part = parts[int(torch.randint(len(parts), (), generator=generator))]
    chosen = torch.randint(len(part.latents), (count,), generator=generator)
    latents, maps = (_rows(values, chosen, device).float() for values in (part.latents, part.maps))
    return latents, maps


def _rows(values: Tensor, chosen: Tensor, device: torch.device) -> Tensor:
    """Those rows on the device. What goes to a GPU is pinned first, or the copy would wait for all that it computes."""
    if device.type != "cuda":
        return values[chosen].to(device)
    if values.device.type == "cuda":
        return values[chosen.pin_memory().to(device, non_blocking=True)]
    return values[chosen].pin_memory().to(device, non_blocking=True)
