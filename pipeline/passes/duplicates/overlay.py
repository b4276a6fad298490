"""Lays one thumbnail over another, whole or cropped, as it is or mirrored, and tells how well their edges agree. Pure.

Edges (differences of neighbouring grey values) tell copies from pictures that only have light and dark in the same
places; figures are in `jobs/README.md`.
"""

from functools import cache

import numpy as np
from jaxtyping import Float32

SIDE_PX = 32
_SAMPLED_PX = 20
_CROPS = (1.0, 0.95, 0.9, 0.85)
"""Sides of crops as shares of the whole; each but the whole at nine places, from the upper left to the lower right."""
_FAINT = 7.0
"""Length of the edges of a nearly blank picture of 256 grey levels: less does not count as agreement."""


def similarities(one: Float32[np.ndarray, "32 32"], others: Float32[np.ndarray, "n 32 32"]) -> list[float]:
    """How well a thumbnail agrees with each of others: cosine of their edges where they agree best, 0 to 1.

    Equal thumbnails agree by 1, even blank ones. Rounded to six digits, so that no last bit decides.

    Args: one, others: grey values, 0 to 255.
    """
    mirrored = np.ascontiguousarray(one[:, ::-1])
    crops = _edges(others)
    best = np.zeros(len(others), np.float32)
    for view in _edges(np.stack([one, mirrored])):
        best = np.maximum(best, (crops[:, 0] @ view.T).max(axis=1))  # a crop of the one is the other
        best = np.maximum(best, (crops @ view[0]).max(axis=1))  # a crop of the other is the one
    equal = [bool((other == one).all() or (other == mirrored).all()) for other in others]
    return [1.0 if same else round(min(1.0, float(value)), 6) for same, value in zip(equal, best, strict=True)]


def _edges(thumbnails: Float32[np.ndarray, "n 32 32"]) -> Float32[np.ndarray, "n 28 d"]:
    """The edges of each thumbnail, whole and cropped, of length 1; shorter for nearly blank ones."""
    found = []
    for sampler in _samplers():
        sampled = sampler @ thumbnails @ sampler.T
        places = len(sampler) // _SAMPLED_PX
        by_place = sampled.reshape(-1, places, _SAMPLED_PX, places, _SAMPLED_PX).swapaxes(2, 3)
        flat = len(thumbnails), places * places, _SAMPLED_PX * (_SAMPLED_PX - 1)
        across, down = (np.diff(by_place, axis=axis).reshape(flat) for axis in (-1, -2))
        found.append(np.concatenate([across, down], axis=-1))
    edges = np.concatenate(found, axis=1)
    lengths = np.sqrt(np.einsum("nwd,nwd->nw", edges, edges))
    unit: Float32[np.ndarray, "n 28 d"] = edges / np.maximum(lengths, _FAINT)[..., None]
    return unit


@cache
def _samplers() -> list[Float32[np.ndarray, "_s 32"]]:
    """For each size of crops, what samples rows or columns at all of its places, one place after the other."""
    starts = {side: (0.0,) if side == 1 else (0.0, (1 - side) / 2, 1 - side) for side in _CROPS}
    return [np.concatenate([_sampler(side, start) for start in starts[side]]) for side in _CROPS]


def _sampler(side: float, start: float) -> Float32[np.ndarray, "20 32"]:
    """Averages the pixels that each of the samples covers, by how much of them it does."""
    ends = (start + side * np.arange(_SAMPLED_PX + 1) / _SAMPLED_PX) * SIDE_PX
    pixels = np.arange(SIDE_PX)
    covered = np.minimum(ends[1:, None], pixels + 1) - np.maximum(ends[:-1, None], pixels)
    covered = covered.clip(min=0)
    sampler: Float32[np.ndarray, "20 32"] = (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
    return sampler
