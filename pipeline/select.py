"""Scores and a policy to a verdict with its reason; pure, and decided for each image alone."""

from pipeline.config import PolicyConfig
from pipeline.records import CandidateRow, Verdict

REJECTION_REASONS = ("no_salient_object", "object_fills_image", "variance_above_max", "variance_per_area_above_max")
"""In the order in which they are looked at: the first that holds is the reason."""


def decide(row: CandidateRow, policy: PolicyConfig) -> Verdict:
    """Accept an image, or say why not. A score that lies exactly on its bound is accepted."""
    if row.status == "failed":
        return Verdict(decision="failed", reason=row.reason)
    if row.scores["area"] < policy.min_area:
        return Verdict(decision="rejected", reason="no_salient_object")
    if row.scores["area"] > policy.max_area:
        return Verdict(decision="rejected", reason="object_fills_image")
    if row.scores["ensemble_variance"] > policy.max_variance:
        return Verdict(decision="rejected", reason="variance_above_max")
    if row.scores["ensemble_variance_per_area"] > policy.max_variance_per_area:
        return Verdict(decision="rejected", reason="variance_per_area_above_max")
    return Verdict(decision="accepted", reason="")
