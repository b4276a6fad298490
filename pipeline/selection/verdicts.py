"""Turn scores, licences and a policy into verdicts with reasons. Pure.

A verdict depends on a `Considered` image alone. The manifest of a release holds all of it, so that anyone can check
the verdicts.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.collection.instances import UNCHECKED, CrossCheck
from pipeline.records import CandidateRow, Sample, Verdict
from pipeline.selection.policy import PolicyConfig, bounds, check_scores, parse_threshold, quotas
from pipeline.selection.scores import CROSS_CHECKS, SCORE_TABLE, SCORES, Score

OBJECT_SIZES = (("small", 32**2), ("medium", 96**2))
"""Size and its largest mask in pixels, as in COCO's detection measures; anything larger is large."""
_COMMERCIAL = re.compile(
    r"https?://(www\.)?(creativecommons\.org/(licenses/by(-sa)?/|publicdomain/)|flickr\.com/commons/usage|usa\.gov/)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """What verdicts depend on: the facts of one image of a run."""

    key: str
    failure: str
    """Why the image failed; "" if it was predicted."""
    scores: Mapping[str, float | None]
    """Name, of SCORES, CROSS_CHECKS or a score pass, → value; empty for a failed image."""
    license_id: int
    license_url: str
    """ "" if none is known."""
    supercategory: str
    image_px: int

    @property
    def stratum(self) -> tuple[str, str]:
        """Supercategory and size of the image's object."""
        mask_px = (self.scores["area"] or 0) * self.image_px
        size = next((name for name, largest in OBJECT_SIZES if mask_px <= largest), "large")
        return self.supercategory, size


def considered(
    row: CandidateRow,
    sample: Sample,
    license_url: str = "",
    checked: CrossCheck | None = UNCHECKED,
    added: Mapping[str, float | None] = MappingProxyType({}),
) -> Considered:
    """Gather what verdicts depend on, for one image of a run.

    Args: checked: None if nobody has looked yet. added: scores of score passes.
    """
    compared = {name: getattr(checked, name) for name in CROSS_CHECKS} if checked else {}
    measured = {**row.scores, **compared, **added}
    return Considered(
        key=row.key,
        failure=row.reason if row.status == "failed" else "",
        scores={} if row.status == "failed" else measured,
        license_id=sample.license_id,
        license_url=license_url,
        supercategory=checked.supercategory if checked else "",
        image_px=sample.width * sample.height,
    )


def decide(row: CandidateRow, policy: PolicyConfig) -> Verdict:
    """Judge an image by the scores of its prediction alone: all that is known during a run."""
    if row.status == "failed":
        return Verdict(decision="failed", reason=row.reason)
    return by_scores(row.scores, policy)


def by_scores(scores: Mapping[str, float | None], policy: PolicyConfig) -> Verdict:
    """Accept or reject a predicted image. A score exactly on its bound is accepted.

    Args: scores: of the prediction. Bounds on other scores are skipped where these are not given.
    """
    if is_empty_scene(scores, policy):
        return Verdict(decision="accepted", reason="")
    for bound in bounds(policy):
        if bound.score not in SCORES and bound.score not in scores:
            continue
        if not bound.passes(scores):
            return _rejected(f"{bound.score}_unknown" if scores.get(bound.score) is None else bound.reason)
    return Verdict(decision="accepted", reason="")


def is_empty_scene(scores: Mapping[str, float | None], policy: PolicyConfig) -> bool:
    """Does a predicted image count as a scene without a salient object? It has an empty mask then."""
    return bool(policy.keep_empty) and parse_threshold(policy.keep_empty).passes(scores)


def scene_of(scores: Mapping[str, float | None], verdict: Verdict, policy: PolicyConfig) -> str:
    """What the manifest of a release with empty scenes says of an image: `object`, `empty`; "" if not accepted."""
    if verdict.decision != "accepted":
        return ""
    return "empty" if is_empty_scene(scores, policy) else "object"


def select(
    images: Sequence[Considered], policy: PolicyConfig, table: Mapping[str, Score] = SCORE_TABLE
) -> dict[str, Verdict]:
    """Judge every image of a run: key → verdict, in the order of the images.

    Args:   table: every score that the images have.
    Raises: ValueError: the policy names another one.
    """
    check_scores(policy, table)
    verdicts = {image.key: _by_itself(image, policy) for image in images}
    if policy.target_images:
        accepted = [image for image in images if verdicts[image.key].decision == "accepted"]
        kept = _best(accepted, policy, table)
        verdicts |= {image.key: _rejected("beyond_target") for image in accepted if image.key not in kept}
    return verdicts


def count_reasons(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Count the images of each verdict: decision → reason → images, in alphabetical order."""
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


def _best(images: Sequence[Considered], policy: PolicyConfig, table: Mapping[str, Score]) -> set[str]:
    """Choose the keys of the best `target_images`, or of the best of each stratum."""
    sign = 1 if table[policy.rank_by].worse_when == "high" else -1

    def rank(image: Considered) -> tuple[bool, float, str]:
        score = image.scores.get(policy.rank_by)
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
    """Check whether the policy accepts images with this licence."""
    if policy.allowed_licenses and license_id not in policy.allowed_licenses:
        return False
    return not policy.commercial or _COMMERCIAL.match(license_url) is not None


def _rejected(reason: str) -> Verdict:
    return Verdict(decision="rejected", reason=reason)
