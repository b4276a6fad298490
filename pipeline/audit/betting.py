"""Confidence interval of the mean of N values in [0, 1], from a sample drawn without replacement, by betting. Pure.

Whoever believes that the mean is m bets on each value drawn, against odds that are fair if m is right. The capital then
becomes large with a small probability only: it reaches 1 / alpha with a probability of at most alpha (Ville 1939). So
every m under which it does is excluded. A lower end comes from bets on values above m, an upper end from bets on values
below.

Before value t is drawn, the mean of what is left would be m_t = (N m - sum of the first t - 1) / (N - t + 1), and the
bet b changes the capital by the factor 1 + b (x_t - m_t). Source: Waudby-Smith & Ramdas, "Estimating means of bounded
random variables by betting", JRSS B 2024, arXiv:2010.09686.

They choose bets by what was drawn before. Here the capital is split among four bets that are fixed before the draw, one
for each of `SPREADS` (their section on mixtures; a sum of such capitals is one too). This costs up to a tenth of the
width, and has a property that a certificate needs: raising a value never lowers the lower end. So the lower end stays
valid when values are replaced by 0, whatever the reason is that they are unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.audit.bounds import Interval

SPREADS = (0.4, 0.2, 0.1, 0.05)
"""Standard deviations of values for which the bets are right; that of 0 and 1 in equal parts is 0.5."""
_MOST_OF_CAPITAL = 0.95
"""The share of the capital that may be lost with one value."""
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
             alpha: probability that the mean is outside; half of it for each end, shared equally among the strata.
    Returns: the strata's intervals, weighted by their sizes. The values that were not drawn can't be below 0 or above
             1, so it is never wider than this leaves open; it is one point if all values were drawn and are known.
    """
    whole = sum(stratum.population for stratum in drawn.values())
    each = alpha / 2 / len(drawn)
    lower = sum(stratum.population * lower_end(stratum.lowest, stratum.population, each) for stratum in drawn.values())
    from_top = sum(
        stratum.population * lower_end(1 - stratum.highest, stratum.population, each) for stratum in drawn.values()
    )
    # They are in order but for rounding, or for an order of values so unlikely that one of the ends misses the mean.
    lower, upper = sorted((lower / whole, 1 - from_top / whole))
    return Interval(lower=lower, upper=upper)


def lower_end(values: Float[np.ndarray, " n"], population: int, alpha: float) -> float:
    """The lower end for the mean of a population, from a simple random sample in the order of its draw.

    Args:   alpha: probability that the mean is below.
    Raises: ValueError: a value is not in [0, 1], or there are more than the population has.
    """
    if len(values) > population or not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"{len(values)} values of {population}, each of which must be from 0 to 1")
    below = float(values.sum()) / population
    above = below + (population - len(values)) / population
    if not len(values) or not is_excluded(below, values, population, alpha):
        return below
    for _ in range(_HALVINGS):  # the capital falls as m grows
        middle = (below + above) / 2
        if is_excluded(middle, values, population, alpha):
            below = middle
        else:
            above = middle
    return below


def is_excluded(mean: float, values: Float[np.ndarray, " n"], population: int, alpha: float) -> bool:
    """Has the capital reached 1 / alpha at some time, if this were the mean, by bets that the values are above it?"""
    count = len(values)
    left = population - np.arange(count)
    drawn_before = np.concatenate(([0.0], np.cumsum(values)[:-1]))
    # A mean so low that nothing is left for the values to come is excluded as soon as one of them is above 0.
    means = np.maximum((population * mean - drawn_before) / left, 1e-12)
    bets = np.sqrt(2 * np.log(1 / alpha) / count) / np.array(SPREADS)
    factors = 1 + np.minimum(bets[:, None], _MOST_OF_CAPITAL / means) * (values - means)
    logs = np.cumsum(np.log(factors), axis=1)
    capital = np.logaddexp.reduce(logs, axis=0) - np.log(len(SPREADS))
    return bool(capital.max() >= np.log(1 / alpha))
