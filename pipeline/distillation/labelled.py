"""Examples: latents of drawn maps, some of them mixed or noisy, and what the VAE paints from them."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from model.diffusion import SODDiffusionPipeline
from model.seeds import member_seed
from pipeline.distillation.shapes import draw_maps

_PIXELS_AT_ONCE = 16 * 192**2
"""Of maps that pass through the VAE together: four at 384 px, where sixteen of a full-size VAE take 7 GB."""
_MIXED, _NOISY = 0.25, 0.6
"""Shares of latents that are mixed with another map's, and that have noise."""
_MOST_NOISE = 0.35
"""Standard deviation of the noise at most, as a share of the latents' own."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Examples of one size."""

    latents: Float[Tensor, "n c h w"]
    """float16, scaled as the pipeline has them."""
    maps: Float[Tensor, "n ph pw"]
    """float16, what the VAE paints: saliency in [0, 1]."""


def side_of(trained_px: int, share: float) -> int:
    """The multiple of 8 next to a share of the side that a model was trained for."""
    return max(1, round(trained_px * share / 8)) * 8


def at_once(side_px: int) -> int:
    """How many maps pass through the VAE together; it changes the last bits, so it follows from the size alone."""
    return max(1, _PIXELS_AT_ONCE // side_px**2)


@contextmanager
def several_processes(count: int) -> Iterator[Callable[..., Iterable[np.ndarray]]]:
    """`map`, in that many processes while the block lasts; in this one if it is one."""
    if count == 1:
        yield map
        return
    # Fresh processes: a fork of one whose libraries have started threads can deadlock.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool.map


@torch.inference_mode()
def label(
    teacher: SODDiffusionPipeline,
    side_px: int,
    count: int,
    seed: int,
    name: str,
    *,
    mapped: Callable[..., Iterable[np.ndarray]] = map,
) -> Labelled:
    """Draw maps and have the teacher encode and decode them; all is drawn from `seed` and `name`.

    Args: teacher: decodes with its VAE. side_px: a multiple of 8. mapped: draws maps, perhaps in several processes.
    """
    latents, maps, most = [], [], at_once(side_px)
    counts = [min(most, count - first) for first in range(0, count, most)]
    seeds = [member_seed(seed, f"distillation: {name}", number) for number in range(len(counts))]
    for drawn_seed, drawn in zip(seeds, mapped(draw_maps, seeds, counts, repeat(side_px)), strict=True):
        pixels = (torch.from_numpy(drawn)[:, None] * 2 - 1).expand(-1, 3, -1, -1).to(teacher.device)
        # Rounded before the teacher sees them: it labels what is kept.
        shown = _disturbed(teacher.encode(pixels), torch.Generator().manual_seed(drawn_seed)).half()
        latents.append(shown.cpu())
        maps.append(teacher.decode(shown.float()).half().cpu())
    return Labelled(torch.cat(latents), torch.cat(maps))


def _disturbed(latents: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Latents as denoising leaves them: between two maps, and with noise of the finest or of a coarser scale."""
    count, scale = len(latents), latents.std((0, 2, 3), correction=0, keepdim=True)

    def some(share: float, most: float) -> Tensor:
        """A strength for each example, zero for most of them."""
        chosen = torch.rand(count, generator=generator) < share
        return (chosen * most * torch.rand(count, generator=generator))[:, None, None, None].to(latents)

    mixed = latents.lerp(latents.roll(1, 0), some(_MIXED, 0.5))
    fine = torch.randn(latents.shape, generator=generator)
    coarse = torch.randn(*latents.shape[:2], *(-(-side // 4) for side in latents.shape[2:]), generator=generator)
    coarse = functional.interpolate(coarse, size=latents.shape[2:], mode="bilinear")
    noise = some(_NOISY, _MOST_NOISE) * fine.to(latents) + some(_NOISY / 2, _MOST_NOISE) * coarse.to(latents)
    return mixed + noise * scale
