"""The numbers of a certificate that hold with its confidence: shares, means, strata, verdicts, advice. Pure.

Each section holds with the confidence of the plan, all its rows together. What is promised is rounded to the weaker
side: limits from below down, limits from above up.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.audit.outcomes import UNKNOWN, Outcome, OutcomeVerdict
from pipeline.audit.plan import AuditPlan
from pipeline.audit.proofs.advice import advise
from pipeline.audit.proofs.betting import DrawnValues, mean_interval
from pipeline.audit.proofs.bounds import Interval, Stratum, at_least_good, at_most_good
from pipeline.audit.proofs.powered import powered_interval, predictions
from pipeline.selection.scores import Score

Json = dict[str, Any]
OBJECTIONS: tuple[OutcomeVerdict, ...] = ("wrong_object", "nothing_salient", "ambiguous")
"""The verdicts whose shares a certificate states."""
SHARE_PARTS = 1000
"""Shares that are promised are whole parts of this: tenths of a percent, so that no text has to round again."""
MEAN_PARTS = 10_000
"""So are the ends of means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A plan, and the outcome of each image of its sample, in the order of the draw."""

    plan: AuditPlan
    outcomes: Sequence[Outcome]

    @property
    def alpha(self) -> float:
        """The probability with which a section may be wrong."""
        return 1 - self.plan.config.confidence

    def of_stratum(self, stratum: str) -> list[Outcome]:
        """The outcomes of a stratum."""
        return [outcome for outcome in self.outcomes if outcome.stratum == stratum]

    def seen(self, is_good: Sequence[bool]) -> dict[str, Stratum]:
        """Stratum → how much of its sample is good.

        Args: is_good: of each outcome.
        """
        drawn = Counter(outcome.stratum for outcome in self.outcomes)
        bad = Counter(outcome.stratum for outcome, good in zip(self.outcomes, is_good, strict=True) if not good)
        return {
            name: Stratum(population=population, drawn=drawn[name], bad=bad[name])
            for name, population in self.plan.strata.items()
        }

    def with_iou(self, iou: float) -> dict[str, Stratum]:
        """Stratum → how much of its sample has at least this IoU."""
        return self.seen([outcome.iou >= iou for outcome in self.outcomes])

    def ious(self) -> dict[str, DrawnValues]:
        """Stratum → its IoUs."""
        return self._values(lambda outcome: (outcome.iou, outcome.best_iou))

    def pixel_errors(self) -> dict[str, DrawnValues]:
        """Stratum → its pixel errors."""
        return self._values(lambda outcome: (outcome.pixel_error, outcome.worst_pixel_error))

    def _values(self, ends_of: Callable[[Outcome], tuple[float, float]]) -> dict[str, DrawnValues]:
        found = {}
        for name, population in self.plan.strata.items():
            ends = np.array([ends_of(outcome) for outcome in self.of_stratum(name)], dtype=np.float64).reshape(-1, 2)
            found[name] = DrawnValues(population=population, lowest=ends[:, 0], highest=ends[:, 1])
        return found


def shares(found: Found) -> list[Json]:
    """For each IoU of the plan: how many of all masks have it at least. They hold together (Bonferroni)."""
    ious = sorted(found.plan.config.ious)
    return [_share(found.with_iou(iou), iou, found.alpha / len(ious)) for iou in ious]


def strata(found: Found) -> list[Json]:
    """The same for each stratum; all rows of all strata hold together. Empty if there is one stratum."""
    sizes, ious = found.plan.strata, sorted(found.plan.config.ious)
    if len(sizes) == 1:
        return []
    each = found.alpha / len(ious) / len(sizes)
    by_iou = {iou: found.with_iou(iou) for iou in ious}
    return [
        {
            "stratum": name,
            "population": population,
            "drawn": by_iou[ious[0]][name].drawn,
            "shares": [_share({name: by_iou[iou][name]}, iou, each) for iou in ious],
        }
        for name, population in sizes.items()
    ]


def _share(seen: Mapping[str, Stratum], iou: float, alpha: float) -> Json:
    at_least, population = at_least_good(seen, alpha), sum(stratum.population for stratum in seen.values())
    return {
        "iou": iou,
        "good": sum(stratum.drawn - stratum.bad for stratum in seen.values()),
        "at_least_images": at_least,
        "at_least_share": share_down(at_least, population),
    }


def verdicts(found: Found) -> list[Json]:
    """For each objection: how many of all masks have it; all rows hold together. Unknown outcomes may be any."""
    each, population = found.alpha / len(OBJECTIONS) / 2, found.plan.population
    rows = []
    for verdict in OBJECTIONS:
        known = found.seen([outcome.verdict == verdict for outcome in found.outcomes])
        possible = found.seen([outcome.verdict in (verdict, *UNKNOWN) for outcome in found.outcomes])
        rows.append(
            {
                "verdict": verdict,
                "found": sum(outcome.verdict == verdict for outcome in found.outcomes),
                "at_least_share": share_down(at_least_good(known, each), population),
                "at_most_share": share_up(at_most_good(possible, each), population),
            }
        )
    return rows


def mean_iou(found: Found, rows: Mapping[str, Mapping[str, Any]], table: Mapping[str, Score]) -> Json:
    """The mean IoU of all masks: by betting, and with a prediction if the plan has one.

    The rule was fixed before anybody looked: with a prediction, each interval has half of the allowed error, and the
    narrower one is stated. So both are right together, and the one that is stated is.
    """
    drawn, name = found.ious(), found.plan.config.predict_with
    each = found.alpha / 2 if name else found.alpha
    betting, powered = mean_interval(drawn, each), None
    predicted = predictions([row.get(name) for row in rows.values()], table[name]) if name else None
    if predicted is not None:
        of_key = dict(zip(rows, predicted, strict=True))
        of_drawn = {
            stratum: np.array([of_key[outcome.key] for outcome in found.of_stratum(stratum)], dtype=np.float64)
            for stratum in drawn
        }
        powered = powered_interval(predicted, drawn, of_drawn, each)
    is_powered = powered is not None and powered.upper - powered.lower < betting.upper - betting.lower
    stated = powered if powered and is_powered else betting
    weighted = [values.population * float(values.lowest.mean()) for values in drawn.values()]
    return {
        "of_sample": rounded(sum(weighted) / found.plan.population),
        **_interval(stated),
        "stated": "powered" if is_powered else "betting",
        "betting": _interval(betting),
        "powered": _interval(powered) if powered else None,
        "predicted_with": name if powered else None,
    }


def mean_pixel_error(found: Found) -> Json:
    """The mean share of an image's pixels on which the release's mask and the settled one differ, by betting.

    Its upper limit bounds what wrong labels can do to MAE. Let S be a map in [0, 1], M the release's mask and T the
    settled one. Pixel by pixel | |S - M| - |S - T| | is at most |M - T|, the triangle inequality. So the MAE of each
    image changes by at most the image's pixel error, and the mean of all accepted images by at most the mean pixel
    error. The difference of two models' MAE changes by at most twice that.
    """
    return _interval(mean_interval(found.pixel_errors(), found.alpha))


def advice(found: Found, rows: Mapping[str, Mapping[str, Any]], table: Mapping[str, Score]) -> Json | None:
    """The advised bound; None if the plan asks for none."""
    config = found.plan.config
    if not config.advise:
        return None
    places = {key: place for place, key in enumerate(rows)}
    values = [row.get(config.advise) for row in rows.values()]
    drawn = {places[outcome.key]: outcome.iou for outcome in found.outcomes}
    advised = asdict(advise(values, table[config.advise], drawn, config))
    return {"score": config.advise, "iou": config.advise_iou, "share": config.advise_share, **advised}


def share_down(count: int, population: int) -> float:
    """The share, rounded down."""
    return count * SHARE_PARTS // population / SHARE_PARTS


def share_up(count: int, population: int) -> float:
    """The share, rounded up."""
    return -(-count * SHARE_PARTS // population) / SHARE_PARTS


def rounded(value: float) -> float:
    """A number that promises nothing, to six decimals."""
    return round(value, 6)


def _interval(interval: Interval) -> Json:
    # A sum that should be a whole number of parts may miss it in its last bits.
    return {
        "lower": math.floor(interval.lower * MEAN_PARTS + 1e-9) / MEAN_PARTS,
        "upper": math.ceil(interval.upper * MEAN_PARTS - 1e-9) / MEAN_PARTS,
    }
