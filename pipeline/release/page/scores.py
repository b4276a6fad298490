"""What the page says about each score and which bounds the policy puts on it; values only."""

import sys
from collections.abc import Mapping
from typing import Any

from pipeline.selection.policy import PolicyConfig, bounds
from pipeline.selection.scores import Score


def describe_scores(table: Mapping[str, Score]) -> list[dict[str, Any]]:
    """Describe every score for the page's script. `sense`: that of a bound on it; `unit`: it ends at 1.

    Args: table: all scores of the release, in page order.
    """
    return [
        {"name": score.name, "meaning": score.meaning, "sense": score.sense, "unit": score.is_share}
        for score in table.values()
    ]


def describe_bounds(policy: PolicyConfig) -> list[dict[str, Any]]:
    """Describe all bounds for the script; JSON has no infinity, so infinite bounds become the largest float."""
    largest = sys.float_info.max
    return [
        {"score": bound.score, "sense": bound.sense, "bound": min(max(bound.limit, -largest), largest)}
        for bound in bounds(policy)
    ]
