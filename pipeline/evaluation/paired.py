"""Compare two models on the same images: differences, their intervals, and whether chance alone explains them. Pure.

- Intervals: the bootstrap of `bootstrap.py`; both models get the same images in each draw.
- Test: a permutation test. If the models were equally good, it would not matter which of an image's two results is
  whose. They are exchanged at random, image by image, and p is the share of exchanges, the real one included, that
  give a difference as large. Any figure can be tested so, maxima of mean curves too, which no test of means can.
  Source: Fisher's randomization test as computed by Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989;
  for counting the real one, Phipson & Smyth 2010, doi:10.2202/1544-6115.1585.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.bootstrap import blocks, interval, resampled
from pipeline.evaluation.figures import Parts, figures, of_sums, sums

EXCHANGES = 9999
SEED = 1
"""Of numpy's PCG64."""
_SAME = 1e-12
"""Differences that differ by less are equal: sums of the same values in another order are off by as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a figure of two models differs."""

    first: float
    second: float
    interval: tuple[float, float] | None
    """Of second minus first; None for fewer than two images."""
    p: float
    """Of the permutation test, for both directions."""

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


def compare(first: Parts, second: Parts) -> dict[str, Difference]:
    """Compare each figure that both have, of the same images in the same order.

    Raises: ValueError: the numbers of images differ.
    """
    if first.images != second.images:
        raise ValueError(f"{first.images} and {second.images} images can't be compared in pairs")
    everything = np.full((1, first.images), 1 / first.images)
    ones, others = figures(first, everything), figures(second, everything)
    spread = _intervals(first, second) if first.images > 1 else {}
    as_large = _as_large(first, second, {name: float(others[name][0] - ones[name][0]) for name in ones})
    return {
        name: Difference(
            first=float(ones[name][0]),
            second=float(others[name][0]),
            interval=spread.get(name),
            p=(1 + as_large[name]) / (1 + EXCHANGES),
        )
        for name in ones
    }


def _intervals(first: Parts, second: Parts) -> dict[str, tuple[float, float]]:
    found: dict[str, list[np.ndarray]] = {}
    for weights in resampled(first.images):
        ones, others = figures(first, weights), figures(second, weights)
        for name in ones:
            found.setdefault(name, []).append(others[name] - ones[name])
    return {name: interval(np.concatenate(differences)) for name, differences in found.items()}


def _as_large(first: Parts, second: Parts, seen: dict[str, float]) -> dict[str, int]:
    """How many random exchanges give a difference as large as the one seen."""
    images = first.images
    everything = np.full((1, images), 1 / images)
    of_first, of_second, change = sums(first, everything), sums(second, everything), second.minus(first)
    generator = np.random.Generator(np.random.PCG64(SEED))
    count = dict.fromkeys(seen, 0)
    for size in blocks(EXCHANGES, images):
        exchanged = generator.integers(0, 2, (size, images)) / images
        moved = sums(change, exchanged)
        ones = of_sums({name: of_first[name] + value for name, value in moved.items()})
        others = of_sums({name: of_second[name] - value for name, value in moved.items()})
        for name in seen:
            count[name] += int(np.count_nonzero(np.abs(others[name] - ones[name]) >= abs(seen[name]) - _SAME))
    return count
