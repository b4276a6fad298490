"""What the page says about each score and which bounds the policy puts on it; values only."""

import sys
from collections.abc import Iterator
from typing import Any

from pipeline.selection.policy import RANKED_HIGH_FIRST, PolicyConfig, Threshold, parse_threshold
from pipeline.selection.scores import CROSS_CHECKS, MEANINGS, SCORES

SHOWN = (*SCORES, *CROSS_CHECKS)
"""Columns that the page treats as scores, in page order."""
_UP_TO_ONE = ("pairwise_iou", "stability", "area", "border", "max_saliency", "instance_iou")


def describe_scores() -> list[dict[str, Any]]:
    """Describe every score for the page's script. `sense`: that of a bound on it; `unit`: it ends at 1."""
    return [
        {
            "name": name,
            "meaning": MEANINGS[name],
            "sense": ">=" if name in RANKED_HIGH_FIRST else "<=",
            "unit": name in _UP_TO_ONE,
        }
        for name in SHOWN
    ]


def describe_bounds(policy: PolicyConfig) -> list[dict[str, Any]]:
    """Describe all bounds for the script; JSON has no infinity, so infinite bounds become the largest float."""
    largest = sys.float_info.max
    return [
        {"score": bound.score, "sense": bound.sense, "bound": min(max(bound.bound, -largest), largest)}
        for bound in bounds_of(policy)
    ]


def bounds_of(policy: PolicyConfig) -> Iterator[Threshold]:
    """All bounds of a policy on scores, the built-in ones first; the order of `pipeline/selection/verdicts.py`."""
    yield Threshold(score="area", sense=">=", bound=policy.min_area)
    yield Threshold(score="area", sense="<=", bound=policy.max_area)
    yield Threshold(score="ensemble_variance", sense="<=", bound=policy.max_variance)
    yield Threshold(score="ensemble_variance_per_area", sense="<=", bound=policy.max_variance_per_area)
    yield from map(parse_threshold, policy.thresholds)
