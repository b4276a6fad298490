"""How well two scores find errors together. Pure.

Together, an image is as bad as the mean of its two ranks: its place when the images are sorted by each score, best
first, where equal scores share their mean place. Nothing is fitted, so the figures need no images held back.
Source: Borda's count, as one adds the votes of judges whose scales can't be compared.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from pipeline.evaluation.confident import ConfidentlyWrong
from pipeline.evaluation.risk_coverage import RiskCoverage, risk_coverage


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What a pair of scores finds."""

    scores: tuple[str, str]
    risk_coverage: Mapping[str, RiskCoverage]
    """By error."""
    caught: Mapping[str, int]
    """See `ConfidentlyWrong.caught`; empty where nothing is confidently wrong."""


def all_pairs(
    badnesses: Mapping[str, Float[np.ndarray, " n"]],
    errors: Mapping[str, Float[np.ndarray, " n"]],
    wrong: ConfidentlyWrong | None,
) -> tuple[Together, ...]:
    """Judge every pair of scores, in the order of the scores."""
    return tuple(
        Together(
            scores=(one, other),
            risk_coverage={error: risk_coverage(both, values, "high") for error, values in errors.items()},
            caught=wrong.caught(both) if wrong else {},
        )
        for one, other in itertools.combinations(badnesses, 2)
        for both in [together(badnesses[one], badnesses[other])]
    )


def together(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The mean of both ranks; 1 for an image that is best by both."""
    ranks: Float[np.ndarray, " n"] = (rankdata(one) + rankdata(other)) / 2
    return ranks
