"""What the page says about each score and which bounds the policy puts on it; values only."""

import sys
from typing import Any

from pipeline.selection.policy import PolicyConfig, bounds
from pipeline.selection.scores import SCORE_TABLE

SHOWN = tuple(SCORE_TABLE)
"""Columns that the page treats as scores, in page order."""


def describe_scores() -> list[dict[str, Any]]:
    """Describe every score for the page's script. `sense`: that of a bound on it; `unit`: it ends at 1."""
    return [
        {"name": score.name, "meaning": score.meaning, "sense": score.sense, "unit": score.is_share}
        for score in SCORE_TABLE.values()
    ]


def describe_bounds(policy: PolicyConfig) -> list[dict[str, Any]]:
    """Describe all bounds for the script; JSON has no infinity, so infinite bounds become the largest float."""
    largest = sys.float_info.max
    return [
        {"score": bound.score, "sense": bound.sense, "bound": min(max(bound.limit, -largest), largest)}
        for bound in bounds(policy)
    ]
