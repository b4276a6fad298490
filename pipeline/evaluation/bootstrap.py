"""How far figures depend on which images a benchmark happens to have. Pure.

Source: the percentile interval of the bootstrap, Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter
13. Images are drawn with replacement, as many as there are; the figure of each such draw is computed anew, maxima of
mean curves included. The interval says nothing of errors of the masks, nor of other collections.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from pipeline.evaluation.figures import Parts, figures

DRAWS = 2000
SEED = 0
"""Of numpy's PCG64."""
CONFIDENCE = 0.95
DIGITS = 6
"""Digits after the point: the last bits of matrix products differ between machines."""
_BLOCK_VALUES = 1 << 20  # 8 MB of weights at once

Intervals = dict[str, tuple[float, float]]
"""Figure → lowest and highest value."""


def stated() -> dict[str, float | int | str]:
    """How intervals are made, for a result's header."""
    return {"draws": DRAWS, "seed": SEED, "generator": "PCG64", "confidence": CONFIDENCE, "interval": "percentile"}


def intervals(parts: Parts) -> Intervals:
    """The interval of each figure; none for fewer than two images."""
    if parts.images < 2:
        return {}
    found = [figures(parts, weights) for weights in resampled(parts.images)]
    return {name: interval(np.concatenate([block[name] for block in found])) for name in found[0]}


def resampled(images: int) -> Iterator[Float[np.ndarray, "b n"]]:
    """Weights of the images in each draw, in blocks. They depend on the number of images only, so two evaluations of
    the same images are resampled alike."""
    generator = np.random.Generator(np.random.PCG64(SEED))
    for size in blocks(DRAWS, images):
        drawn = generator.integers(0, images, (size, images))
        drawn += images * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images) / images


def blocks(count: int, images: int) -> Iterator[int]:
    """Cut so many draws into blocks that fit into memory."""
    most = max(1, _BLOCK_VALUES // images)
    for begin in range(0, count, most):
        yield min(most, count - begin)


def interval(draws: Float[np.ndarray, " b"]) -> tuple[float, float]:
    """The percentile interval of the draws, rounded."""
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(draws, (outside, 100 - outside))
    return round(float(low), DIGITS), round(float(high), DIGITS)
