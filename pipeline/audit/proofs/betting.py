"""Confidence interval of the mean of N values in [0, 1], from a sample drawn without replacement, by betting. Pure.

Whoever believes that the mean is m bets on each value drawn, against odds that are fair if m is right. The capital then
becomes large with a small probability only: it reaches 1 / alpha with a probability of at most alpha (Ville 1939). So
every m under which it does is excluded. A lower end comes from bets on values above m, an upper end from bets on values
below.

Before value t is drawn, the mean of what is left would be m_t = (N m - sum of the first t - 1) / (N - t + 1), and the
bet b changes the capital by the factor 1 + b (x_t - m_t). Source: Waudby-Smith & Ramdas, "Estimating means of bounded
random variables by betting", JRSS B 2024, arXiv:2010.09686.

They choose bets by what was drawn before. Here the capital is split among four bets that are fixed before the draw, one
for each of `SPREADS`; the sum is a capital too. With hundreds of values this makes intervals up to a tenth wider, with
few values narrower. And it has a property that a certificate needs: a higher value never lowers the lower end. So the
lower end stays valid when values are replaced by 0, whatever the reason is that they are unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.audit.proofs.bounds import Interval

SPREADS = (0.4, 0.2, 0.1, 0.05)
"""Standard deviations of values for which the bets are right; that of 0 and 1 in equal parts is 0.5."""
_MOST_OF_CAPITAL = 0.95
"""The share of the capital that may be lost with one value."""
_LEAST_MEAN = 1e-12
_HALVINGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnValues:
    """What was drawn of a stratum, in the order of the draw, where each value is only known to lie between two."""

    population: int
    lowest: Float[np.ndarray, " n"]
    highest: Float[np.ndarray, " n"]


def mean_interval(drawn: Mapping[str, DrawnValues], alpha: float) -> Interval:
    """Bound the mean of all values of a population.

    Args:    drawn: stratum → what was drawn of it; values in [0, 1].
             alpha: probability that the mean is outside; half of it for each end.
    Returns: the interval. The values that were not drawn can't be below 0 or above 1, so it is never wider than this
             leaves open; it is one point if all values were drawn and are known.
    """
    lower = _lower_end_of_all([(found.lowest, found.population) for found in drawn.values()], alpha / 2)
    upper = 1 - _lower_end_of_all([(1 - found.highest, found.population) for found in drawn.values()], alpha / 2)
    # They are in order but for rounding, or for an order of values so unlikely that one of the ends misses the mean.
    return Interval(lower=min(lower, upper), upper=max(lower, upper))


def _lower_end_of_all(strata: Sequence[tuple[Float[np.ndarray, " _"], int]], alpha: float) -> float:
    """Strata that were drawn whole are known; of those of which nothing was drawn, nothing is."""
    population = sum(size for _, size in strata)
    known = sum(float(values.sum()) for values, size in strata if len(values) == size)
    sampled = [(values, size) for values, size in strata if 0 < len(values) < size]
    if not sampled:
        return known / population
    end = lower_end(*sampled[0], alpha) if len(sampled) == 1 else lower_end_of_strata(sampled, alpha)
    return (known + sum(size for _, size in sampled) * end) / population


def lower_end_of_strata(strata: Sequence[tuple[Float[np.ndarray, " _"], int]], alpha: float) -> float:
    """The lower end for the mean of several strata together, of each of which some values were drawn, but not all.

    Each value is weighted by how many values of its stratum it stands for, on a scale that ends at 1; let m be the mean
    on this scale. The capital is the product of 1 + b (x - m) over all values drawn. For draws without replacement its
    expectation is at most that for draws with it (Maclaurin's inequality of symmetric means), stratum by stratum, and
    that is at most 1 if m is the mean or above it (inequality of arithmetic and geometric means). So it reaches
    1 / alpha with a probability of at most alpha. One sample's bets are better: they know what is left.

    Args: strata: values and population of each. alpha: probability that the mean is below.
    """
    population, count = sum(size for _, size in strata), sum(len(values) for values, _ in strata)
    weights = [size / population * count / len(values) for values, size in strata]
    scaled = np.concatenate([values * weight for (values, _), weight in zip(strata, weights, strict=True)]) / max(
        weights
    )
    below = sum(float(values.sum()) for values, _ in strata) / population

    def excluded(mean: float) -> bool:
        means = np.full(count, max(mean / max(weights), _LEAST_MEAN))
        return bool(_capital(scaled, means, alpha)[-1] >= np.log(1 / alpha))

    return _first_kept(below, below + (population - count) / population, excluded)


def lower_end(values: Float[np.ndarray, " n"], population: int, alpha: float) -> float:
    """The lower end for the mean of a population, from a simple random sample in the order of its draw.

    Args:   alpha: probability that the mean is below.
    Raises: ValueError: a value is not in [0, 1], or there are more than the population has.
    """
    if len(values) > population or not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"{len(values)} values of {population}, each of which must be from 0 to 1")
    below = float(values.sum()) / population
    if not len(values):
        return below
    above = below + (population - len(values)) / population
    return _first_kept(below, above, lambda mean: is_excluded(mean, values, population, alpha))


def is_excluded(mean: float, values: Float[np.ndarray, " n"], population: int, alpha: float) -> bool:
    """Has the capital reached 1 / alpha at some time, if this were the mean, by bets that the values are above it?"""
    drawn_before = np.concatenate(([0.0], np.cumsum(values)[:-1]))
    # A mean so low that nothing is left for the values to come is excluded as soon as one of them is above 0.
    means = np.maximum((population * mean - drawn_before) / (population - np.arange(len(values))), _LEAST_MEAN)
    return bool(_capital(values, means, alpha).max() >= np.log(1 / alpha))


def _capital(values: Float[np.ndarray, " n"], means: Float[np.ndarray, " n"], alpha: float) -> Float[np.ndarray, " n"]:
    """The logarithm of the capital after each value, if the means were those of the values to come."""
    bets = np.sqrt(2 * np.log(1 / alpha) / len(values)) / np.array(SPREADS)
    factors = 1 + np.minimum(bets[:, None], _MOST_OF_CAPITAL / means) * (values - means)
    capital: Float[np.ndarray, " n"] = np.logaddexp.reduce(np.cumsum(np.log(factors), axis=1), axis=0)
    capital -= np.log(len(SPREADS))
    return capital


def _first_kept(below: float, above: float, excluded: Callable[[float], bool]) -> float:
    """The lower end between two means: the capital falls as the mean grows."""
    if not excluded(below):
        return below
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        if excluded(middle):
            below = middle
        else:
            above = middle
    return below
