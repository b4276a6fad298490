"""When an image has enough ensemble members: when its scores are clear of the policy's bounds. Pure.

The rule looks at an image's own members only, so its result never depends on other images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
from jaxtyping import Float

from model.config import EnsembleConfig
from model.prediction import Enough
from model.rounds import variance_scale
from pipeline.selection.policy import Bound, PolicyConfig, bounds
from pipeline.selection.scores import SCORES, score_members

CLEAR_BY = 2.0
"""Standard errors that must lie between a score and its bound. All 111 predictions of the sample's 37 photographs, with
three seeds each, kept the verdict of ten members, with 4.0 members on average (`sod bench adaptive`)."""

STEADY_MAP = 0.01
"""Without bounds: how far the missing members may still move the map, on average over its pixels."""

_LOOKED_AT_PX = 96
"""Rows and columns that the rule looks at, evenly spread: enough for means over an image, and a millisecond of work."""


def stopping_rule(ensemble: EnsembleConfig, policy: PolicyConfig | None = None) -> Enough | None:
    """Make the rule by which images stop; None if every image gets the whole ensemble.

    Args: policy: its bounds decide the verdicts. Without a policy, the map itself must be steady.
    """
    if ensemble.adaptive == "off":
        return None
    stopping_bounds = bounds_of_predictions(policy) if policy else []

    def enough(members: Float[np.ndarray, "e ph pw"]) -> bool:
        rows, columns = (max(1, side // _LOOKED_AT_PX) for side in members.shape[1:])
        seen = members[:, rows // 2 :: rows, columns // 2 :: columns]
        if not stopping_bounds:
            return remaining_move(seen, ensemble.members) <= STEADY_MAP
        return is_clear(seen, ensemble.members, stopping_bounds)

    return enough


def members_in_words(made_with: Mapping[str, str]) -> str:
    """Say how many members an image has: `10`, or `up to 10` if it could stop early.

    Args: made_with: the fingerprint of the run.
    """
    return f"{'up to ' if made_with.get('adaptive') == 'on' else ''}{made_with['ensemble_size']}"


def bounds_of_predictions(policy: PolicyConfig) -> list[Bound]:
    """List the bounds that the rule checks: those on scores of a prediction. Annotations are compared after a run."""
    return [bound for bound in bounds(policy) if bound.score in SCORES]


def bounds_in_words(policy: PolicyConfig) -> str:
    """Write the bounds that the rule checks for the fingerprint of a run, in the order of PolicyConfig's fields."""
    options = [field.name for field in fields(PolicyConfig)]
    return " ".join(map(str, sorted(bounds_of_predictions(policy), key=lambda bound: options.index(bound.option))))


def is_clear(members: Float[np.ndarray, "e h w"], ensemble_size: int, to_check: Sequence[Bound]) -> bool:
    """Check that the missing members would hardly move a score across its bound.

    The spread of a score is estimated by leaving out one member at a time (jackknife; Efron and Stein 1981,
    doi:10.1214/aos/1176345462). The missing members account for the share 1 - e/E of its variance.
    """
    names = sorted({bound.score for bound in to_check})
    count = len(members)
    scores = _scores(members, ensemble_size, names)
    without = [_scores(np.delete(members, left_out, axis=0), ensemble_size, names) for left_out in range(count)]
    left = 1 - count / ensemble_size
    for bound in to_check:
        values = np.array([each[bound.score] for each in without])
        error = np.sqrt((count - 1) * values.var() * left)
        if not abs(scores[bound.score] - bound.limit) > CLEAR_BY * error:
            return False
    return True


def remaining_move(members: Float[np.ndarray, "e h w"], ensemble_size: int) -> float:
    """Estimate how far the mean of these members is from that of all: mean over the pixels, in units of saliency."""
    variance = members.var(axis=0, ddof=1, dtype=np.float64)
    return float(np.sqrt(variance * (1 / len(members) - 1 / ensemble_size)).mean())


def _scores(members: Float[np.ndarray, "e h w"], ensemble_size: int, names: Sequence[str]) -> dict[str, float]:
    saliency = members.mean(0, dtype=np.float64)
    return score_members(members, saliency, variance_scale(len(members), ensemble_size), names)
