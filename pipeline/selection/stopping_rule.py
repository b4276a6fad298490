"""When an image has enough ensemble members: its verdict stands clear of the policy's bounds. Pure.

The rule looks at an image's own members only, so what becomes of an image never depends on the others.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from model.config import EnsembleConfig
from model.prediction import Enough
from model.rounds import variance_scale
from pipeline.selection.policy import PolicyConfig, Threshold, parse_threshold
from pipeline.selection.scores import CROSS_CHECKS, score_members

CLEAR_BY = 2.0
"""Standard errors by which a score must be away from its bound. Of the sample's 37 photographs, with three seeds each,
all 111 kept the verdict of ten members, with 4.0 of them on average (`jobs/benchmark.py adaptive`)."""

STEADY_MAP = 0.01
"""Without bounds: how far the map may still move by the members that are missing, on average over its pixels."""

_LOOKED_AT_PX = 96
"""Rows and columns that the rule looks at, evenly spread: enough for means over an image, and a millisecond's work."""


def stopping_rule(ensemble: EnsembleConfig, policy: PolicyConfig | None = None) -> Enough | None:
    """The rule by which images stop, or None where all are to have the whole ensemble.

    Args: policy: the bounds that verdicts depend on; without one, the map itself must be steady.
    """
    if ensemble.adaptive == "off":
        return None
    bounds = bounds_of(policy) if policy else []

    def enough(members: Float[np.ndarray, "e ph pw"]) -> bool:
        seen = _thinned(members)
        if not bounds:
            return remaining_move(seen, ensemble.ensemble_size) <= STEADY_MAP
        return is_clear(seen, ensemble.ensemble_size, bounds)

    return enough


def members_in_words(made_with: Mapping[str, str]) -> str:
    """How many members an image has, by the fingerprint of its run: `10`, or `up to 10` if it could stop early."""
    return f"{'up to ' if made_with.get('adaptive') == 'on' else ''}{made_with['ensemble_size']}"


def bounds_of(policy: PolicyConfig) -> list[Threshold]:
    """The policy's bounds on scores of the prediction; those on a comparison with annotations come later."""
    usual = (
        f"ensemble_variance<={policy.max_variance}",
        f"ensemble_variance_per_area<={policy.max_variance_per_area}",
        f"area>={policy.min_area}",
        f"area<={policy.max_area}",
    )
    bounds = [parse_threshold(text) for text in (*usual, *policy.thresholds)]
    return [bound for bound in bounds if bound.score not in CROSS_CHECKS]


def is_clear(members: Float[np.ndarray, "e h w"], ensemble_size: int, bounds: Sequence[Threshold]) -> bool:
    """Would the missing members hardly bring a score to the other side of its bound?

    The spread of a score is estimated by leaving out one member after the other (jackknife; Efron and Stein 1981,
    doi:10.1214/aos/1176345462); of that, the share counts that the missing members still have: 1 - e/E of the variance.
    """
    names = sorted({bound.score for bound in bounds})
    count = len(members)
    scores = _scores(members, ensemble_size, names)
    without = [_scores(np.delete(members, left_out, axis=0), ensemble_size, names) for left_out in range(count)]
    left = 1 - count / ensemble_size
    for bound in bounds:
        values = np.array([each[bound.score] for each in without])
        error = np.sqrt((count - 1) * values.var() * left)
        if not abs(scores[bound.score] - bound.bound) > CLEAR_BY * error:
            return False
    return True


def remaining_move(members: Float[np.ndarray, "e h w"], ensemble_size: int) -> float:
    """How far the mean of these members is from that of all, to be expected: mean over pixels, in units of saliency."""
    variance = members.var(axis=0, ddof=1, dtype=np.float64)
    return float(np.sqrt(variance * (1 / len(members) - 1 / ensemble_size)).mean())


def _scores(members: Float[np.ndarray, "e h w"], ensemble_size: int, names: Sequence[str]) -> dict[str, float]:
    saliency = members.mean(0, dtype=np.float64)
    return score_members(members, saliency, variance_scale(len(members), ensemble_size), names)


def _thinned(members: Float[np.ndarray, "e ph pw"]) -> Float[np.ndarray, "e h w"]:
    rows, columns = (max(1, side // _LOOKED_AT_PX) for side in members.shape[1:])
    return members[:, rows // 2 :: rows, columns // 2 :: columns]
