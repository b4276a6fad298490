"""The certificate of a release: all that the answers of an audit prove, as `certificate.json` has it. Pure.

It follows from the plan, the release's manifest and the answers alone, so anybody can compute it again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.audit.labour import Work
from pipeline.audit.outcomes import SAME_IOU, UNKNOWN, Outcome, Pair
from pipeline.audit.plan import AuditPlan
from pipeline.audit.proofs.agreement import Agreement, Share, agreement_of
from pipeline.audit.proofs.promises import (
    Found,
    Json,
    advice,
    mean_iou,
    mean_pixel_error,
    rounded,
    shares,
    strata,
    verdicts,
)
from pipeline.audit.proofs.risks import COVERAGES, Risks, curve, risks_of
from pipeline.errors import ConfigError
from pipeline.selection.columns import ScoreTable

FORMAT = 1
HEADLINE_IOU = 0.9


def make_certificate(
    plan: AuditPlan,
    rows: Mapping[str, Mapping[str, Any]],
    table: ScoreTable,
    outcomes: Sequence[Outcome],
    pairs: Sequence[Pair],
    work: Sequence[Work],
    *,
    missing_as_failures: bool = False,
) -> Json:
    """Compute the certificate.

    Args:    rows: key → row of the manifest, of all accepted images. table: the scores of the release.
             outcomes: of all images of the sample, in the order of the draw. pairs: images that two raters answered.
             missing_as_failures: certify although some outcomes are unknown; they count as bad.
    Returns: what `certificate.json` has. Promises are rounded to the weaker side, other numbers to six decimals.
    Raises:  ConfigError: some outcomes are unknown. ValueError: the outcomes are not those of the plan's sample.
    """
    if [outcome.key for outcome in outcomes] != [image.key for image in plan.sample]:
        raise ValueError("the outcomes are not those of the plan's sample, in the order of the draw")
    counts = _counts(plan, outcomes)
    if not missing_as_failures:
        require_known(counts)
    found, config = Found(plan=plan, outcomes=outcomes), plan.config
    certain = shares(found)
    return {
        "format": FORMAT,
        "release": {"name": plan.name, "version": plan.version, "sha256": plan.sha256},
        "plan": plan.digest,
        "sentence": sentence(plan, certain, counts),
        "confidence": config.confidence,
        "population": plan.population,
        "images": len(plan.sample),
        "raters": config.raters,
        "beacon": config.beacon,
        "counts": counts,
        "counts_as_bad": counted_as_bad(counts),
        "shares": certain,
        "mean_iou": mean_iou(found, rows, table),
        "mean_pixel_error": mean_pixel_error(found),
        "stratified_by": config.strata,
        "strata": strata(found),
        "verdicts": verdicts(found),
        "advice": advice(found, rows, table),
        "agreement": _agreement(agreement_of(pairs, found.alpha)),
        "risks": _risks(risks_of(outcomes, rows, table)),
        "work": _work(work),
    }


def require_known(counts: Mapping[str, int]) -> None:
    """Check that every outcome is known.

    Raises: ConfigError: some are not; says what to do.
    """
    if unknown := counts["missing"] + counts["skipped"] + counts["unresolved"]:
        raise ConfigError(
            f"{unknown} of the {counts['planned']} drawn images have no outcome: {counts['missing']} lack an answer, "
            f"{counts['skipped']} were skipped, and raters differ on {counts['unresolved']}. Get the answers (the "
            "command adjudicate makes a page of those skipped and disputed), or certify with --missing-as-failures, "
            "which counts all of them as bad"
        )


def sentence(plan: AuditPlan, certain: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> str:
    """The promise in plain English, for the IoU .9 if the plan has it, or else for the largest one."""
    ious = [row["iou"] for row in certain]
    row = certain[ious.index(HEADLINE_IOU)] if HEADLINE_IOU in ious else certain[-1]
    title, population, images = f"{plan.name} {plan.version}", plan.population, len(plan.sample)
    if not row["at_least_images"]:
        return (
            f"Nothing is proven of the {population:,} masks of {title}: of {images:,} that were drawn, {row['good']:,} "
            f"have an IoU of at least {row['iou']:g} with the mask that people settled on."
        )
    share = f"{row['at_least_share']:.1%}".replace("%", " %")
    if images == population:
        is_exact = counts["judged"] == images
        at_least = "" if is_exact else "at least "
        return (
            f"Of the {population:,} masks of {title}, {at_least}{row['at_least_images']:,} ({share}) have an IoU of at "
            f"least {row['iou']:g} with the mask that people settled on. All of them were looked at: this is a count."
        )
    fixed_by = "the release's own digest and a public value" if plan.config.beacon else "the release's own digest"
    return (
        f"Of the {population:,} masks of {title}, at least {share} have an IoU of at least {row['iou']:g} with the "
        f"mask that people settled on. Confidence {100 * plan.config.confidence:g} %, over the draw of {images:,} "
        f"images that {fixed_by} fixed before anyone looked."
    )


def counted_as_bad(counts: Mapping[str, int]) -> list[str]:
    """What counts as bad, in words."""
    said = [
        "a mask whose IoU with the one that people settled on is below the stated IoU",
        "a mask of the wrong object, of an image with nothing salient (unless the mask is empty), or of an image where "
        "several objects would be as good: its IoU counts as 0",
    ]
    unknown = {
        "missing": "images without all their answers",
        "skipped": "images that a rater skipped",
        "unresolved": "images on which two raters differ, without a third look",
    }
    return said + [f"{words}: {counts[name]} of them" for name, words in unknown.items() if counts[name]]


def _counts(plan: AuditPlan, outcomes: Sequence[Outcome]) -> dict[str, int]:
    of_verdict = Counter(outcome.verdict for outcome in outcomes)
    return {
        "planned": len(plan.sample),
        "judged": sum(outcome.verdict not in UNKNOWN for outcome in outcomes),
        "missing": of_verdict["missing"],
        "skipped": of_verdict["skip"],
        "unresolved": of_verdict["unresolved"],
        "adjudicated": sum(outcome.is_adjudicated for outcome in outcomes),
        "right": of_verdict["right"],
        "fixed": of_verdict["fix"],
        "for_two_raters": sum(len(image.raters) > 1 for image in plan.sample),
    }


def _agreement(found: Agreement) -> Json:
    return {
        "pairs": found.pairs,
        "same_verdict": _pair_share(found.same_verdict),
        "kappa": None if found.kappa is None else rounded(found.kappa),
        "mean_iou": None if found.mean_iou is None else rounded(found.mean_iou),
        "same_mask": _pair_share(found.same_mask),
        "same_mask_iou": SAME_IOU,
    }


def _pair_share(share: Share) -> Json:
    return {
        "found": share.found,
        "among": share.among,
        "lower": rounded(share.interval.lower),
        "upper": rounded(share.interval.upper),
    }


def _risks(found: Risks) -> Json:
    scores = {
        name: {
            "aurc": rounded(risk.aurc),
            "oracle": rounded(risk.oracle_aurc),
            "random": rounded(risk.random_aurc),
            "gain": None if risk.gain is None else rounded(risk.gain),
            "curve": [rounded(value) for value in curve(risk)],
        }
        for name, risk in found.of.items()
    }
    return {"images": found.images, "coverages": list(COVERAGES), "scores": scores}


def _work(work: Sequence[Work]) -> Json:
    return {
        "hours": round(sum(one.seconds for one in work) / 3600, 2),
        "untimed": sum(one.untimed for one in work),
        "by": [
            {"rater": one.rater, "images": one.images, "hours": round(one.seconds / 3600, 2), "sources": one.sources}
            for one in work
        ],
    }
