"""The loosest bound on a score within which enough masks are good, chosen and proven by the same labels. Pure.

Learn then test: candidate bounds and their order are fixed by the scores, before anybody judges. Each of them is tested
for "too few of the masks within it are good", from the strictest to the loosest, at the whole alpha; the first that
does not pass ends the search. Such a sequence is wrong with a probability of at most alpha: that needs one error at the
first bound whose promise is false. Sources: Angelopoulos, Bates, Candès, Jordan & Lei, "Learn then test",
arXiv:2110.01052; Bauer, "Multiple testing in clinical trials", Statistics in Medicine 1991.

The masks within a bound are a population of their own, and those of them that were drawn are a simple random sample of
it, however many they are. So the test is the exact hypergeometric one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

import numpy as np
from jaxtyping import Float

from pipeline.audit.config import AuditConfig
from pipeline.audit.proofs.bounds import at_most
from pipeline.errors import ConfigError
from pipeline.selection.scores import Score

CANDIDATES = 20
"""Bounds that keep 5 %, 10 %, … of the accepted images."""
_STANDS = (0.5, 0.375, 0.25, 0.125, 0.0)
_KEEPS = 0.6
"""See `first_to_test`. Chosen by simulation: with 200 to 1,000 images and informative scores, the bounds found kept the
most images."""
_LIKELY = 0.9
"""A bound is likely to pass if it does with so few images as are drawn within it only once in ten times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A bound, and what is within it."""

    bound: str
    """As policies take it: `ensemble_variance<=0.0123`."""
    kept: int
    """Accepted images within it."""
    worst: float
    """The badness of the worst of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What the search has found."""

    bound: str | None
    """The loosest bound that passed; None if none has."""
    kept: int
    """Accepted images within it; 0 if there is none, and so are the next two."""
    drawn: int
    """Images of the sample within it."""
    good: int
    """Those of them that are good."""
    first: str
    """The bound with which the search began."""
    ended: str
    """Why it ended, in words."""


def require_possible(config: AuditConfig) -> None:
    """Check, before the plan, that advice can be given.

    Raises: ConfigError: the sample is drawn by strata. The images within a bound are no simple random sample then.
    """
    if config.advise and config.strata != "none":
        raise ConfigError(
            f"--advise {config.advise} with --strata {config.strata}: advice needs a simple random sample; leave one "
            "of the two out"
        )


def badness_of(values: Sequence[float | None], score: Score) -> Float[np.ndarray, " n"]:
    """How bad each image is by a score: its value, or minus it if low ones are bad. Infinite where there is none."""
    known = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.nan_to_num(known if score.worse_when == "high" else -known, nan=np.inf)


def candidates(badness: Float[np.ndarray, " n"], score: Score) -> list[Candidate]:
    """The bounds to test, from the strictest to the loosest. Images without the score are within none of them.

    Args: badness: of all accepted images, at least one.
    """
    ordered = np.sort(badness[np.isfinite(badness)])
    sense, sign = ("<=", 1) if score.worse_when == "high" else (">=", -1)
    found: dict[int, Candidate] = {}
    for number in range(1, CANDIDATES + 1):
        wanted = -(-len(badness) * number // CANDIDATES)
        if len(ordered) and (wanted <= len(ordered) or number == CANDIDATES):
            worst = float(ordered[min(wanted, len(ordered)) - 1])
            kept = int(np.searchsorted(ordered, worst, side="right"))
            beyond = sign * float(ordered[kept]) if kept < len(ordered) else _past_the_end(score)
            bound = f"{score.name}{sense}{short_between(sign * worst, beyond)}"
            found.setdefault(kept, Candidate(bound=bound, kept=kept, worst=worst))
    return list(found.values())


def _past_the_end(score: Score) -> float:
    """The first number that no value of a score can be, on its bad side."""
    return (
        math.nextafter(score.highest, math.inf)
        if score.worse_when == "high"
        else math.nextafter(score.lowest, -math.inf)
    )


def short_between(last: float, beyond: float) -> str:
    """The number with the fewest digits that is `last`, or lies between it and `beyond`, which it is not."""
    rounding = ROUND_CEILING if beyond > last else ROUND_FLOOR
    for digits in range(1, 17):
        near = float(Context(prec=digits, rounding=rounding).create_decimal(Decimal(last)))
        if min(last, beyond) <= near <= max(last, beyond) and near != beyond:
            return repr(near)
    return repr(last)


def advise(values: Sequence[float | None], score: Score, drawn: Mapping[int, float], config: AuditConfig) -> Advice:
    """Search for the loosest bound.

    Args: values: the score of all accepted images. drawn: place of each drawn one among them → its IoU, 0 if unknown.
    """
    alpha, share = 1 - config.confidence, config.advise_share
    badness = badness_of(values, score)
    found = candidates(badness, score)
    if not found:
        return _advice(None, [], "", "no image has the score", config)
    passed, start = None, first_to_test(found, len(values), len(drawn), share, alpha)
    ended = "all bounds have passed"
    ious: list[float] = []
    for candidate in found[start:]:
        within = [iou for place, iou in drawn.items() if badness[place] <= candidate.worst]
        bad = sum(iou < config.advise_iou for iou in within)
        if not passes(candidate.kept, len(within), bad, share, alpha):
            ended = f"{candidate.bound} has not passed: of {len(within)} drawn masks within it, {bad} are bad"
            break
        passed, ious = candidate, within
    return _advice(passed, ious, found[start].bound, ended, config)


def _advice(passed: Candidate | None, within: Sequence[float], first: str, ended: str, config: AuditConfig) -> Advice:
    return Advice(
        bound=passed.bound if passed else None,
        kept=passed.kept if passed else 0,
        drawn=len(within),
        good=sum(iou >= config.advise_iou for iou in within),
        first=first,
        ended=ended,
    )


def passes(kept: int, drawn: int, bad: int, share: float, alpha: float) -> bool:
    """Would so few bad masks be drawn, with a probability of at most alpha, if the share of good ones were too low?"""
    allowed = math.floor(kept * (1 - share) * (1 + 1e-12) + 1e-12)
    return allowed >= kept or at_most(bad, kept, allowed + 1, drawn) <= alpha * (1 - 1e-6)


def first_to_test(found: Sequence[Candidate], population: int, images: int, share: float, alpha: float) -> int:
    """Where the search begins: at a strict bound that is likely to pass if its masks are good enough.

    If it began too strictly, so few of the images within the bound would be drawn that one bad mask ended the search.
    So the first bound is the strictest one that passes even if some of the masks drawn within it are bad: of the parts
    of the permitted share in _STANDS the largest, rounded up, for which there is such a bound that keeps at most _KEEPS
    of the images. If there is none, the loosest bound is the only one tested.

    It follows from the plan and the scores alone: if it depended on how many images happened to be drawn within each
    bound, the sequence would not be fixed.
    """
    strict = [candidate for candidate in found if candidate.kept <= _KEEPS * population]
    likely = [_likely(population, candidate.kept, images) for candidate in strict]
    for part in _STANDS:
        for place, (candidate, drawn) in enumerate(zip(strict, likely, strict=True)):
            if passes(candidate.kept, drawn, math.ceil(part * (1 - share) * drawn), share, alpha):
                return place
    return len(found) - 1


def _likely(population: int, kept: int, images: int) -> int:
    """The largest number of images that are drawn within a bound, or more, with the probability _LIKELY."""
    lowest, highest = 0, min(kept, images)
    while lowest < highest:
        middle = (lowest + highest + 1) // 2
        if at_most(middle - 1, population, kept, images) <= 1 - _LIKELY:
            lowest = middle
        else:
            highest = middle - 1
    return lowest
