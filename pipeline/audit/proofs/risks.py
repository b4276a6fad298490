"""How well each score finds the errors that people have found: risk and coverage on the audited images. Pure.

The error of a mask is 1 - IoU. Images of which nobody knows how good they are can't tell, and are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit.outcomes import UNKNOWN, Outcome
from pipeline.evaluation.risk_coverage import RiskCoverage, badnesses, risk_coverage
from pipeline.selection.columns import ScoreTable

COVERAGES = tuple(number / 20 for number in range(1, 21))


@dataclass(frozen=True, slots=True, kw_only=True)
class Risks:
    """What the labels say of all scores."""

    images: int
    """Audited images whose IoU is known."""
    of: Mapping[str, RiskCoverage]
    """Score → how well it finds errors; empty if no IoU is known."""


def risks_of(outcomes: Sequence[Outcome], rows: Mapping[str, Mapping[str, float | None]], table: ScoreTable) -> Risks:
    """Measure all scores of a release by the audit's outcomes.

    Args: rows: key → score → value. table: the scores of the release.
    """
    judged = [outcome for outcome in outcomes if outcome.verdict not in UNKNOWN]
    errors = np.array([1 - outcome.iou for outcome in judged])
    bad = badnesses([rows[outcome.key] for outcome in judged], table)
    return Risks(images=len(judged), of={name: risk_coverage(values, errors, "high") for name, values in bad.items()})


def curve(found: RiskCoverage) -> list[float]:
    """The mean error of the images kept, at each of COVERAGES; their number is rounded up."""
    return [found.risks[-(-len(found.risks) * number // len(COVERAGES)) - 1] for number in range(1, len(COVERAGES) + 1)]
