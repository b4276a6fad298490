"""What the page says about each score, and which bounds the policy puts on it; values only."""

import sys
from typing import Any

from pipeline.selection.policy import PolicyConfig, bounds
from pipeline.selection.scores import SCORE_TABLE

AGREEMENT = "Agreement is not correctness: an ensemble can agree on the wrong object."
SHOWN = tuple(SCORE_TABLE)
"""Columns that the page treats as scores, in its order."""


def describe_scores() -> list[dict[str, Any]]:
    """Every score as the page's script takes it: `sense` is that of a bound on it, `unit` says that 1 is its end."""
    return [
        {"name": score.name, "meaning": score.meaning, "sense": score.sense, "unit": score.is_share}
        for score in SCORE_TABLE.values()
    ]


def describe_bounds(policy: PolicyConfig) -> list[dict[str, Any]]:
    """All bounds as the script takes them; infinite ones, for which JSON has no word, become the largest number."""
    largest = sys.float_info.max
    return [
        {"score": bound.score, "sense": bound.sense, "bound": min(max(bound.limit, -largest), largest)}
        for bound in bounds(policy)
    ]
