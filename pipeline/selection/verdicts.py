"""Scores, licences and a policy to verdicts with their reasons; pure.

What a verdict depends on is a `Considered` image. All of it is in the manifest of a release, so that whoever checks
one can decide again.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.collection.instances import UNCHECKED, CrossCheck
from pipeline.records import CandidateRow, Sample, Verdict
from pipeline.selection.policy import RANKED_HIGH_FIRST, PolicyConfig, parse_threshold, quotas

REJECTION_REASONS = (
    "no_salient_object",
    "object_fills_image",
    "variance_above_max",
    "variance_per_area_above_max",
    "SCORE_above_max",
    "SCORE_below_min",
    "SCORE_unknown",
    "license_not_allowed",
    "beyond_target",
)
"""In the order in which they are looked at: the first that holds is the reason."""
OBJECT_SIZES = (("small", 32**2), ("medium", 96**2))
"""Largest mask of a size, in pixels; what is larger is large. As COCO's detection measures have it."""
_COMMERCIAL = re.compile(
    r"https?://(www\.)?(creativecommons\.org/(licenses/by(-sa)?/|publicdomain/)|flickr\.com/commons/usage|usa\.gov/)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """An image of a run, as far as verdicts depend on it."""

    key: str
    failure: str
    """Why it failed; "" if it was predicted."""
    scores: Mapping[str, float | None]
    """By the names of SCORES and CROSS_CHECKS; empty for a failed image."""
    license_id: int
    license_url: str
    """ "" if the annotations give none."""
    supercategory: str
    image_px: int

    @property
    def stratum(self) -> tuple[str, str]:
        """Supercategory and size of its object."""
        mask_px = (self.scores["area"] or 0) * self.image_px
        size = next((name for name, largest in OBJECT_SIZES if mask_px <= largest), "large")
        return self.supercategory, size


def considered(row: CandidateRow, sample: Sample, license_url: str = "", checked: CrossCheck = UNCHECKED) -> Considered:
    """What is known of an image of a run, put together."""
    return Considered(
        key=row.key,
        failure=row.reason if row.status == "failed" else "",
        scores={} if row.status == "failed" else {**row.scores, "instance_iou": checked.instance_iou},
        license_id=sample.license_id,
        license_url=license_url,
        supercategory=checked.supercategory,
        image_px=sample.width * sample.height,
    )


def decide(row: CandidateRow, policy: PolicyConfig) -> Verdict:
    """Accept an image by the scores of its prediction alone, or say why not: what can be said while a run goes on."""
    if row.status == "failed":
        return Verdict(decision="failed", reason=row.reason)
    return by_scores(row.scores, policy)


def by_scores(scores: Mapping[str, float | None], policy: PolicyConfig) -> Verdict:
    """The same for an image that was predicted. A score that lies exactly on its bound is accepted.

    Args: scores: those of the prediction; those of CROSS_CHECKS too, or else bounds on them are left out.
    """
    area, variance, per_area = (
        scores[name] or 0.0 for name in ("area", "ensemble_variance", "ensemble_variance_per_area")
    )
    if area < policy.min_area:
        return _rejected("no_salient_object")
    if area > policy.max_area:
        return _rejected("object_fills_image")
    if variance > policy.max_variance:
        return _rejected("variance_above_max")
    if per_area > policy.max_variance_per_area:
        return _rejected("variance_per_area_above_max")
    for threshold in map(parse_threshold, policy.thresholds):
        if threshold.score in scores and not threshold.passes(scores):
            is_unknown = scores[threshold.score] is None
            return _rejected(f"{threshold.score}_unknown" if is_unknown else threshold.reason)
    return Verdict(decision="accepted", reason="")


def select(images: Sequence[Considered], policy: PolicyConfig) -> dict[str, Verdict]:
    """Key → the verdict on every image of a run, in their order."""
    verdicts = {image.key: _by_itself(image, policy) for image in images}
    if policy.target_images:
        accepted = [image for image in images if verdicts[image.key].decision == "accepted"]
        kept = _best(accepted, policy)
        verdicts |= {image.key: _rejected("beyond_target") for image in accepted if image.key not in kept}
    return verdicts


def count_reasons(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Decision → reason → images, in the order of the alphabet."""
    counts: dict[str, dict[str, int]] = {}
    for (decision, reason), images in sorted(Counter((v.decision, v.reason) for v in verdicts).items()):
        counts.setdefault(decision, {})[reason] = images
    return counts


def _by_itself(image: Considered, policy: PolicyConfig) -> Verdict:
    if image.failure:
        return Verdict(decision="failed", reason=image.failure)
    verdict = by_scores(image.scores, policy)
    if verdict.decision == "accepted" and not is_allowed(image.license_id, image.license_url, policy):
        return _rejected("license_not_allowed")
    return verdict


def _best(images: Sequence[Considered], policy: PolicyConfig) -> set[str]:
    """Keys of the best `target_images`, or of the best of each stratum."""
    sign = -1 if policy.rank_by in RANKED_HIGH_FIRST else 1

    def rank(image: Considered) -> tuple[bool, float, str]:
        score = image.scores[policy.rank_by]
        return score is None, sign * (score or 0.0), image.key

    ordered = sorted(images, key=rank)
    if policy.strata == "none":
        return {image.key for image in ordered[: policy.target_images]}
    left = quotas(Counter(image.stratum for image in images), policy.target_images, policy.strata)
    kept = set()
    for image in ordered:
        if left[image.stratum]:
            left[image.stratum] -= 1
            kept.add(image.key)
    return kept


def is_allowed(license_id: int, license_url: str, policy: PolicyConfig) -> bool:
    """May the policy's releases have images of that licence?"""
    if policy.allowed_licenses and license_id not in policy.allowed_licenses:
        return False
    return not policy.commercial or _COMMERCIAL.match(license_url) is not None


def _rejected(reason: str) -> Verdict:
    return Verdict(decision="rejected", reason=reason)
