"""How far two people agree on the same images: the ceiling of any figure that compares masks with theirs. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.audit.outcomes import SAME_IOU, Pair
from pipeline.audit.proofs.bounds import Interval, clopper_pearson_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of the pairs, and the interval of Clopper and Pearson for that of all images of this kind."""

    found: int
    among: int
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What the images say that two people have judged."""

    pairs: int
    """Images that two people have judged, those left out that one has skipped."""
    same_verdict: Share
    kappa: float | None
    """Cohen's kappa of the verdicts; None if it is not defined: no pairs, or both people always say the same word."""
    mean_iou: float | None
    """Of their two masks, where both have one; None if there is no such pair."""
    same_mask: Share
    """Of the pairs with two masks, those whose IoU is at least SAME_IOU."""


def agreement_of(pairs: Sequence[Pair], alpha: float) -> Agreement:
    """Measure the agreement.

    Args: alpha: probability that an interval misses its share.
    """
    judged = [pair for pair in pairs if "skip" not in pair.verdicts]
    ious = [pair.iou for pair in judged if pair.iou is not None]
    return Agreement(
        pairs=len(judged),
        same_verdict=_share(sum(one == other for one, other in (pair.verdicts for pair in judged)), len(judged), alpha),
        kappa=kappa([pair.verdicts for pair in judged]),
        mean_iou=sum(ious) / len(ious) if ious else None,
        same_mask=_share(sum(iou >= SAME_IOU for iou in ious), len(ious), alpha),
    )


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa: (agreement - agreement by chance) / (1 - agreement by chance); None where that is 0 / 0.

    Source: Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 1960.
    """
    count = len(pairs)
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    by_chance = sum(first[verdict] * second[verdict] for verdict in first)  # times the square of the count
    if by_chance == count * count:
        return None
    agreed = sum(one == other for one, other in pairs) * count
    return (agreed - by_chance) / (count * count - by_chance)


def _share(found: int, among: int, alpha: float) -> Share:
    return Share(found=found, among=among, interval=clopper_pearson_interval(found, among, alpha))
