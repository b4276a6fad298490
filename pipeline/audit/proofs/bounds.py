"""Exact bounds on how many of N masks are bad, from a sample drawn without replacement. Pure.

The masks are fixed, and so is which of them are bad; only the draw is random. A bound fails with a probability of at
most `alpha`, whatever the masks are. Source of this kind of promise: Candès, Ilyas & Zrnic, "Probably approximately
correct labels", arXiv:2506.10908.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.special import betaincinv, gammaln

_TIE = 1 - 1e-6
"""Probabilities that equal alpha but for this factor count as equal: the last bits of another machine's logarithms
change no bound. In such a tie the weaker bound is stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Ends of an interval; both belong to it."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """A part of the population, what was drawn of it, and how much of that is bad."""

    population: int
    drawn: int
    bad: int

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.drawn <= self.population:
            raise ValueError(f"{self.bad} bad of {self.drawn} drawn of {self.population}; each is at most the next")

    @property
    def is_census(self) -> bool:
        """All of it was drawn."""
        return self.drawn == self.population

    @property
    def most_bad(self) -> int:
        """All of it but the good masks that were seen."""
        return self.population - (self.drawn - self.bad)

    @property
    def mirrored(self) -> "Stratum":
        """The same with good and bad exchanged."""
        return Stratum(population=self.population, drawn=self.drawn, bad=self.drawn - self.bad)


def at_most_bad(seen: Stratum, alpha: float) -> int:
    """The most masks of a population that can be bad, after a simple random sample of it.

    Args:    alpha: probability of a wrong bound, above 0 and below 1.
    Returns: the largest number of bad masks under which a sample with no more bad ones than this has a probability
             above alpha: the hypergeometric test, inverted.
    """
    lowest, highest = seen.bad, seen.most_bad
    while lowest < highest:  # the probability falls as the number of bad masks grows
        middle = (lowest + highest + 1) // 2
        if at_most(seen.bad, seen.population, middle, seen.drawn) >= alpha * _TIE:
            lowest = middle
        else:
            highest = middle - 1
    return lowest


def at_most(bad: int, population: int, bad_in_population: int, drawn: int) -> float:
    """Probability that at most `bad` of the drawn masks are bad: the hypergeometric distribution."""
    good_in_population = population - bad_in_population
    first = max(0, drawn - good_in_population)
    last = min(bad, drawn, bad_in_population)
    if last == min(drawn, bad_in_population):
        return 1.0
    if last < first:
        return 0.0
    found = np.arange(first, last + 1, dtype=np.float64)
    logs = _choose(bad_in_population, found) + _choose(good_in_population, drawn - found)
    return float(np.exp(logs - _choose(population, np.array(float(drawn)))).sum())


def clopper_pearson(bad: int, drawn: int, alpha: float) -> float:
    """The highest share of bad masks in an infinite population; 1 if nothing was drawn, or only bad masks.

    Source: Clopper & Pearson, Biometrika 1934.
    """
    return 1.0 if bad >= drawn else float(betaincinv(bad + 1, drawn - bad, 1 - alpha))


def clopper_pearson_interval(found: int, drawn: int, alpha: float) -> Interval:
    """Both limits of a share, each at half of alpha."""
    return Interval(
        lower=1 - clopper_pearson(drawn - found, drawn, alpha / 2), upper=clopper_pearson(found, drawn, alpha / 2)
    )


def at_most_bad_of_strata(seen: Mapping[str, Stratum], alpha: float) -> int:
    """The most masks of a population that can be bad, after simple random samples of its strata.

    Strata that were drawn whole are counted. One other stratum has the hypergeometric bound. For several, let n of them
    all be drawn, d of these bad. A hypergeometric count is a sum of independent Bernoulli variables (Vatutin &
    Mikhailov 1982), so d is one too, of n variables with a mean of at least f D: D masks are bad, and f is the smallest
    sampled share of a stratum. The probability of at most d is then no more than the binomial's with this mean, if d is
    at most the mean minus 1 (Hoeffding 1956). Hence D <= n p / f, where p is the larger of the limit of Clopper and
    Pearson and (d + 1) / n; the second makes sure of the condition.

    A small stratum of which little was drawn would make f small for all. So strata are left out, the least sampled
    ones, if that would give a better bound with one bad mask in twenty: all that is unseen of them counts as bad. Which
    ones these are follows from the plan alone.

    Sources: Vatutin & Mikhailov, Theory of Probability and its Applications 1982; Hoeffding, "On the distribution of
    the number of successes in independent trials", Annals of Mathematical Statistics 1956.
    """
    counted = sum(stratum.bad for stratum in seen.values() if stratum.is_census)
    sampled = sorted((one for one in seen.values() if not one.is_census), key=lambda one: one.drawn / one.population)
    left_out = _left_out(sampled, alpha)
    counted += sum(stratum.most_bad for stratum in sampled[:left_out])
    return counted + _at_most_bad_together(sampled[left_out:], alpha)


def _at_most_bad_together(sampled: Sequence[Stratum], alpha: float) -> int:
    """The bound without leaving out any.

    Args: sampled: the one with the smallest sampled share is the first.
    """
    if len(sampled) < 2 or not sampled[0].drawn:
        return sum(at_most_bad(stratum, alpha) for stratum in sampled[:1]) + sum(one.most_bad for one in sampled[1:])
    drawn, bad = sum(stratum.drawn for stratum in sampled), sum(stratum.bad for stratum in sampled)
    share = max(clopper_pearson(bad, drawn, alpha), (bad + 1) / drawn)
    per_image = sampled[0].population / sampled[0].drawn
    most = int(drawn * share * per_image * (1 + 1e-9))  # a tie gives the weaker bound
    return min(most, sum(stratum.most_bad for stratum in sampled))


def _left_out(sampled: Sequence[Stratum], alpha: float) -> int:
    """How many of the least sampled strata are left out."""

    def expected(count: int) -> int:
        supposed = [replace(stratum, bad=-(-stratum.drawn // 20)) for stratum in sampled[count:]]
        return sum(stratum.population for stratum in sampled[:count]) + _at_most_bad_together(supposed, alpha)

    return min(range(len(sampled)), key=expected, default=0)


def at_least_good(seen: Mapping[str, Stratum], alpha: float) -> int:
    """The fewest masks that can be good."""
    return sum(stratum.population for stratum in seen.values()) - at_most_bad_of_strata(seen, alpha)


def at_most_good(seen: Mapping[str, Stratum], alpha: float) -> int:
    """The most masks that can be good."""
    return at_most_bad_of_strata({name: stratum.mirrored for name, stratum in seen.items()}, alpha)


def _choose(among: int, taken: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Logarithm of the binomial coefficient."""
    logs: Float[np.ndarray, "*n"] = gammaln(among + 1.0) - gammaln(taken + 1.0) - gammaln(among - taken + 1.0)
    return logs
