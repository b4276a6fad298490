"""Scores: the numbers by which verdicts and users judge a prediction. Pure.

SCORE_TABLE states all that is known of a score, and holds the function that measures it. Everything else derives from
the table: the manifest's columns, the page, Croissant, ranking, bounds of a policy, and risk-coverage curves.

The command line reads the table, and `--help` must not wait for numpy: functions import it when they measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool, Float

    from model.prediction import Prediction

STABILITY_OFFSET = 0.1
"""Distance by which the mask's threshold is moved up and down to see whether the mask stays the same."""

Worse = Literal["high", "low"]
Sense = Literal["<=", ">="]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """What a score is measured on: the maps of one image."""

    members: Float[np.ndarray, "e ph pw"]
    """In [0, 1], at processing resolution."""
    mean: Float[np.ndarray, "ph pw"]
    """Mean of the members, float64."""
    saliency: Float[np.ndarray, "h w"]
    """In [0, 1], at the image's own size."""
    mask: Bool[np.ndarray, "h w"]
    """Where the saliency map is at least 0.5."""
    variance_scale: float
    """See `Prediction`."""

    @cached_property
    def variance(self) -> float:
        """See `ensemble_variance`. Two scores need it."""
        from model.prediction import ensemble_variance

        return ensemble_variance(self.members, self.variance_scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What is known of a score."""

    name: str
    meaning: str
    """What it is, in the words of manifest, card, page and Croissant."""
    lowest: float = 0.0
    highest: float = 1.0
    """Ends of its range; no value lies outside."""
    worse_when: Worse
    """The end that indicates a bad map."""
    rankable: bool = False
    """Says how far a mask can be trusted, so that the best images can be chosen by it."""
    measure: Callable[[Maps], float] | None = None
    """Computes it from a prediction. None: a score pass has added it, or it compares the mask with the annotations
    (`CrossCheck` has a field of its name) and is unknown for images that have no instances there."""
    of_pass: str = ""
    """The score pass that has added it, as its run calls the pass."""

    @property
    def source(self) -> Literal["prediction", "annotations", "pass"]:
        """What it is computed from."""
        if self.of_pass:
            return "pass"
        return "prediction" if self.measure else "annotations"

    @property
    def sense(self) -> Sense:
        """The side on which a policy would usually bound it."""
        return ">=" if self.rankable and self.worse_when == "low" else "<="

    @property
    def is_share(self) -> bool:
        """Its range is from 0 to 1."""
        return (self.lowest, self.highest) == (0, 1)


def pairwise_iou(masks: Bool[np.ndarray, "e h w"]) -> float:
    """Mean intersection over union over all pairs of members; two empty masks agree, and so does one alone."""
    import numpy as np

    if len(masks) == 1:
        return 1.0
    bits = np.packbits(masks.reshape(len(masks), -1), axis=1)  # [E, pixels / 8]: float64 would take 64 times as much
    words = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64)
    areas = np.bitwise_count(words).sum(1, dtype=np.int64)
    shared = [np.bitwise_count(own & words[i + 1 :]).sum(1, dtype=np.int64) for i, own in enumerate(words)]
    in_both = np.concatenate(shared)
    unions = np.concatenate([area + areas[i + 1 :] for i, area in enumerate(areas)]) - in_both
    return float(np.divide(in_both, unions, out=np.ones(len(unions)), where=unions > 0).mean())


def _ratio(shared: float, union: float) -> float:
    return float(shared / union) if union else 1.0


def _stability(maps: Maps) -> float:
    """Source: Kirillov et al. 2023, arXiv:2304.02643."""
    upper, lower = maps.mean >= 0.5 + STABILITY_OFFSET, maps.mean >= 0.5 - STABILITY_OFFSET
    return _ratio(_count(upper & lower), _count(upper | lower))


def _border(maps: Maps) -> float:
    inner = maps.mask[1:-1, 1:-1]
    return (_count(maps.mask) - _count(inner)) / (maps.mask.size - inner.size)


def _count(mask: Bool[np.ndarray, "h w"]) -> int:
    import numpy as np

    return int(np.count_nonzero(mask))


_ROWS = (
    Score(
        name="ensemble_variance",
        meaning="variance over the ensemble members (of fewer than others have, scaled to as many), averaged over the "
        "pixels, 0 to 0.25",
        highest=0.25,
        worse_when="high",
        rankable=True,
        measure=lambda maps: maps.variance,  # grows with the length of outlines
    ),
    Score(
        name="ensemble_variance_per_area",
        meaning="the ensemble variance divided by the mean saliency",
        highest=250.0,
        worse_when="high",
        rankable=True,
        measure=lambda maps: maps.variance / max(float(maps.mean.mean()), 1e-3),  # comparable for objects of any size
    ),
    Score(
        name="pairwise_iou",
        meaning="mean intersection over union of the masks of all pairs of members, 0 to 1",
        worse_when="low",
        rankable=True,
        measure=lambda maps: pairwise_iou(maps.members >= 0.5),
    ),
    Score(
        name="stability",
        meaning="intersection over union of the masks at thresholds 0.6 and 0.4, 0 to 1",
        worse_when="low",
        rankable=True,
        measure=_stability,
    ),
    Score(
        name="area",
        meaning="share of the image's pixels that the mask covers, 0 to 1",
        worse_when="low",  # small objects are harder
        measure=lambda maps: _count(maps.mask) / maps.mask.size,
    ),
    Score(
        name="border",
        meaning="share of the pixels on the image's border that the mask covers, 0 to 1",
        worse_when="high",  # an object that touches the border is less clear
        measure=_border,
    ),
    Score(
        name="max_saliency",
        meaning="the highest value of the saliency map, 0 to 1",
        worse_when="low",
        rankable=True,
        measure=lambda maps: float(maps.saliency.max()),
    ),
    Score(
        name="instance_iou",
        meaning="intersection over union of the mask with the best union of the annotations' own instances, 0 to 1",
        worse_when="low",
        rankable=True,
    ),
)
SCORE_TABLE = {row.name: row for row in _ROWS}
"""Every score, in the order of the manifest's columns: scores of a prediction first."""

SCORES = tuple(row.name for row in _ROWS if row.source == "prediction")
"""Names of the scores of a prediction."""

CROSS_CHECKS = tuple(row.name for row in _ROWS if row.source == "annotations")
"""Names of the scores of a mask against the annotations."""


def score(prediction: Prediction) -> dict[str, float]:
    """Measure all scores of one image. Every sample has the same names; all values are finite."""
    return score_members(prediction.members, prediction.saliency, prediction.variance_scale)


def score_members(
    members: Float[np.ndarray, "e ph pw"],
    saliency: Float[np.ndarray, "h w"],
    variance_scale: float,
    names: Sequence[str] = SCORES,
) -> dict[str, float]:
    """Measure some scores of an image from its members and its saliency map.

    Args: variance_scale: see `Prediction`.
          names: of SCORES.
    """
    maps = Maps(
        members=members,
        mean=members.mean(0, dtype="float64"),
        saliency=saliency,
        mask=saliency >= 0.5,
        variance_scale=variance_scale,
    )
    measures = {row.name: row.measure for row in _ROWS if row.measure}
    return {name: measures[name](maps) for name in names}
