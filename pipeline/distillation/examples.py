"""All examples of a distillation: kept on disk part by part, on the GPU if they fit there, and drawn in batches."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from model.diffusion import SODDiffusionPipeline
from model.memory import free_bytes
from pipeline.distillation.labelled import Labelled, label, side_of
from pipeline.errors import StorageError
from pipeline.files.storage import publish
from pipeline.progress.stages import counted

_PART = 256
"""Examples in a file."""
_SIDES = (1.0, 1.0, 1.0, 2 / 3, 1.0, 1.0, 1.0, 4 / 3)
"""Sides of the parts' maps in turn, as shares of the side that the model was trained for: people may choose others."""

_SHARE_OF_FREE = 0.5
"""Of a GPU's free memory that examples may take; the rest is for the training. 4096 maps and
their latents are 0.33 GB for a model of 192 px, and 1.3 GB for one of 384."""


def labelled_parts(
    folder: Path,
    teacher: SODDiffusionPipeline,
    count: int,
    seed: int,
    *,
    check: Callable[[], None] = lambda: None,
    mapped: Callable[..., Iterable[np.ndarray]] = map,
) -> list[Labelled]:
    """All examples; those that are on disk are read, the others made and written.

    Args:   teacher: decodes with its VAE. check: called before each part; it may raise. mapped: as `label` has it.
    Raises: StorageError: a file can't be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [min(_PART, count - first) for first in range(0, count, _PART)]
    numbered = counted("labelling drawn maps with the VAE", enumerate(sizes), len(sizes), "parts")
    parts = []
    for number, size in numbered:
        check()
        path = folder / f"{number:05d}.safetensors"
        if not path.exists():
            side_px = side_of(teacher.default_processing_res, _SIDES[number % len(_SIDES)])
            made = label(teacher, side_px, size, seed, f"part {number}", mapped=mapped)
            publish(str(path), save({"latents": made.latents.contiguous(), "maps": made.maps.contiguous()}))
        parts.append(_read(path))
    return parts


def _read(path: Path) -> Labelled:
    try:
        held = load(path.read_bytes())
        return Labelled(held["latents"], held["maps"])
    except Exception as error:
        raise StorageError(
            f"{path} is not a readable file of examples ({error}): delete it to make it again"
        ) from error


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
