"""From answers to one outcome per drawn image: where two raters differ, a third look decides. Pure.

    one rater, or two who agree    the verdict, and the lower IoU; they agree if their verdicts are the same and
                                   their masks have an IoU of at least .9
    two who differ                 the adjudicator's answer counts; without it the image is unresolved
    skipped                        the adjudicator's answer counts; without it the image stays skipped
    an answer is missing           the adjudicator's answer counts; without it the image is missing

What counts as bad is fixed here, before anybody looks: whatever a rater does not call right, or put right, has IoU 0.
An image that is unresolved, skipped or missing is bad where a bound from below is computed (`iou`), and perfect where
one from above is (`best_iou`), so that whoever leaves out hard images only makes the promise weaker.

The pixel error is the share of an image's pixels on which the release's mask and the settled one differ; of two raters
who agree, the larger counts. Without a settled mask it may be anything: nobody has drawn the object that is salient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pycocotools import mask as coco_mask

from pipeline.audit.answers import Answer, AnswerVerdict, latest
from pipeline.audit.plan import ADJUDICATOR, AuditPlan
from pipeline.passes.mask_text import Rle

SAME_IOU = 0.9
"""Two raters' masks of at least this IoU are the same."""
OutcomeVerdict = AnswerVerdict | Literal["missing", "unresolved"]
UNKNOWN: tuple[OutcomeVerdict, ...] = ("skip", "missing", "unresolved")
"""Nobody knows how good these masks are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the audit has found of one image."""

    key: str
    stratum: str
    verdict: OutcomeVerdict
    iou: float
    """Of the release's mask and the adjudicated one, in [0, 1]; 0 if unknown, or if there is no such mask."""
    best_iou: float
    """The same; 1 if unknown."""
    pixel_error: float
    """Share of the pixels on which the release's mask and the settled one differ, in [0, 1]; 0 if there is none."""
    worst_pixel_error: float
    """The same; 1 if there is none."""
    is_adjudicated: bool
    """Has a third look decided?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two raters' answers on the same image, whatever the adjudicator says."""

    key: str
    verdicts: tuple[AnswerVerdict, AnswerVerdict]
    iou: float | None
    """Of their masks; None if one of them has none. That of `right` is the release's."""
    differ: bool


def settle(
    plan: AuditPlan, answers: Mapping[str, Sequence[Answer]], masks: Mapping[str, Rle]
) -> tuple[list[Outcome], list[Pair]]:
    """Derive all outcomes.

    Args:    answers: rater, the adjudicator among them → all answers in their order.
             masks: key → the release's mask, of every image of the sample.
    Returns: one outcome per image, in the order of the draw; and the images that two raters have answered.
    """
    counted = {rater: latest(list(given)) for rater, given in answers.items()}
    outcomes, pairs = [], []
    for image in plan.sample:
        given = [counted[rater][image.key] for rater in image.raters if image.key in counted.get(rater, {})]
        pair = _pair(given, masks[image.key]) if len(given) == 2 else None
        pairs += [pair] if pair else []
        third = counted.get(ADJUDICATOR, {}).get(image.key)
        is_whole = len(given) == len(image.raters)
        needs_third = not is_whole or any(answer.verdict == "skip" for answer in given) or bool(pair and pair.differ)
        verdict: OutcomeVerdict
        if needs_third and third:
            given, verdict = [third], third.verdict
        elif not is_whole:
            verdict = "missing"
        else:
            verdict = "unresolved" if pair and pair.differ else given[0].verdict
        ious = [0.0] if verdict in UNKNOWN else [_iou(answer, masks[image.key]) for answer in given]
        error = None if verdict in UNKNOWN else _pixel_error(given, masks[image.key])
        outcomes.append(
            Outcome(
                key=image.key,
                stratum=image.stratum,
                verdict=verdict,
                iou=min(ious),
                best_iou=1.0 if verdict in UNKNOWN else min(ious),
                pixel_error=0.0 if error is None else error,
                worst_pixel_error=1.0 if error is None else error,
                is_adjudicated=needs_third and third is not None,
            )
        )
    return outcomes, pairs


def disputed(plan: AuditPlan, answers: Mapping[str, Sequence[Answer]], masks: Mapping[str, Rle]) -> list[str]:
    """The keys that wait for a third look, in the order of the draw: raters differ on them, or one has skipped them."""
    outcomes, _ = settle(plan, answers, masks)
    return [outcome.key for outcome in outcomes if outcome.verdict in ("unresolved", "skip")]


def iou_of(one: Rle, other: Rle) -> float:
    """Intersection over union of two masks of one image; two empty masks are equal."""
    if not coco_mask.area(one) and not coco_mask.area(other):
        return 1.0
    return float(coco_mask.iou([one], [other], [0])[0, 0])


def differing_share(one: Rle, other: Rle) -> float:
    """Share of an image's pixels on which two masks of it differ."""
    both = coco_mask.merge([one, other], intersect=True)
    differing = int(coco_mask.area(one)) + int(coco_mask.area(other)) - 2 * int(coco_mask.area(both))
    height, width = one["size"]
    return differing / (height * width)


def _pair(given: Sequence[Answer], mask: Rle) -> Pair:
    one, other = given
    masks = [mask if answer.verdict == "right" else answer.mask for answer in given]
    iou = iou_of(masks[0], masks[1]) if masks[0] and masks[1] else None
    differ = one.verdict != other.verdict or (iou is not None and iou < SAME_IOU)
    return Pair(key=one.key, verdicts=(one.verdict, other.verdict), iou=iou, differ=differ)


def _iou(answer: Answer, mask: Rle) -> float:
    """How good the release's mask is, if this answer is true."""
    is_empty = not coco_mask.area(mask)
    if answer.verdict == "right" or (answer.verdict == "nothing_salient" and is_empty):
        return 1.0
    return iou_of(answer.mask, mask) if answer.mask else 0.0


def _pixel_error(given: Sequence[Answer], mask: Rle) -> float | None:
    """The largest share of wrong pixels by these answers, which have one verdict; None without a settled mask."""
    errors = []
    for answer in given:
        if answer.verdict == "right":
            errors.append(0.0)
        elif answer.verdict == "nothing_salient":
            height, width = mask["size"]
            errors.append(int(coco_mask.area(mask)) / (height * width))
        elif answer.mask:
            errors.append(differing_share(answer.mask, mask))
    return max(errors, default=None)
