"""Scores, licences and a policy to verdicts with their reasons; pure."""

import re
from collections.abc import Mapping, Sequence

from pipeline.coco import License
from pipeline.config import PolicyConfig
from pipeline.policy import RANKED_HIGH_FIRST, parse_threshold
from pipeline.records import CandidateRow, Sample, Verdict

REJECTION_REASONS = (
    "no_salient_object",
    "object_fills_image",
    "variance_above_max",
    "variance_per_area_above_max",
    "SCORE_above_max",
    "SCORE_below_min",
    "license_not_allowed",
    "beyond_target",
)
"""In the order in which they are looked at: the first that holds is the reason."""
_COMMERCIAL = re.compile(
    r"https?://(www\.)?(creativecommons\.org/(licenses/by(-sa)?/|publicdomain/)|flickr\.com/commons/usage|usa\.gov/)"
)


def decide(row: CandidateRow, policy: PolicyConfig) -> Verdict:
    """Accept an image by its scores alone, or say why not. A score that lies exactly on its bound is accepted."""
    if row.status == "failed":
        return Verdict(decision="failed", reason=row.reason)
    return by_scores(row.scores, policy)


def by_scores(scores: Mapping[str, float], policy: PolicyConfig) -> Verdict:
    """The same for an image that was predicted."""
    if scores["area"] < policy.min_area:
        return _rejected("no_salient_object")
    if scores["area"] > policy.max_area:
        return _rejected("object_fills_image")
    if scores["ensemble_variance"] > policy.max_variance:
        return _rejected("variance_above_max")
    if scores["ensemble_variance_per_area"] > policy.max_variance_per_area:
        return _rejected("variance_per_area_above_max")
    for threshold in map(parse_threshold, policy.thresholds):
        if not threshold.passes(scores):
            return _rejected(threshold.reason)
    return Verdict(decision="accepted", reason="")


def select(
    rows: Sequence[CandidateRow], samples: Sequence[Sample], licenses: Mapping[int, License], policy: PolicyConfig
) -> dict[str, Verdict]:
    """Key → the verdict on every image of a run, in the order of the rows.

    Args: samples: of the same images, for their licences; a licence that is not in `licenses` is unknown.
    """
    verdicts = {row.key: decide(row, policy) for row in rows}
    for sample in samples:
        if verdicts[sample.key].decision == "accepted" and not _is_allowed(sample.license_id, licenses, policy):
            verdicts[sample.key] = _rejected("license_not_allowed")
    if policy.target_images:
        accepted = [row for row in rows if verdicts[row.key].decision == "accepted"]
        sign = -1 if policy.rank_by in RANKED_HIGH_FIRST else 1
        accepted.sort(key=lambda row: (sign * row.scores[policy.rank_by], row.key))
        verdicts |= {row.key: _rejected("beyond_target") for row in accepted[policy.target_images :]}
    return verdicts


def _is_allowed(license_id: int, licenses: Mapping[int, License], policy: PolicyConfig) -> bool:
    if policy.allowed_licenses and license_id not in policy.allowed_licenses:
        return False
    if not policy.commercial:
        return True
    return license_id in licenses and _COMMERCIAL.match(licenses[license_id].url) is not None


def _rejected(reason: str) -> Verdict:
    return Verdict(decision="rejected", reason=reason)
