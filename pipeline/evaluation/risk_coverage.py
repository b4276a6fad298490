"""What our scores know about the errors: the error of the images that are kept, when the worst by a score are dropped.

The best n of N images by a score are kept; their share n / N is the coverage, their mean error the risk. AURC is the
mean risk over all coverages n = 1 … N: the mean error of a filter whose threshold nobody has chosen yet. Source:
Geifman & El-Yaniv, NeurIPS 2017; Geifman, Uziel & El-Yaniv, ICLR 2019, arXiv:1805.08206.

An AURC by itself says little, since it grows with the errors. It lies between that of the oracle, which knows the
errors and drops the largest first, and that of dropping at random, whose risk is the mean error at every coverage:

- `e_aurc` = AURC - oracle, the excess of that paper: 0 is perfect.
- `gain` = (random - AURC) / (random - oracle): 1 is as good as knowing the errors, 0 as good as dropping at random,
  negative worse. None where all errors are equal, since nothing can be gained.

Images of equal score can't be told apart by a threshold, so each of them counts with the mean error of all of them:
what is expected when ties are broken by chance. So the order in which images come does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from pipeline.evaluation.measures import ImageMeasures

Worse = Literal["high", "low"]

WORSE_WHEN: dict[str, Worse] = {
    "ensemble_variance": "high",
    "ensemble_variance_per_area": "high",
    "pairwise_iou": "low",
    "stability": "low",
    "area": "low",
    "border": "high",
    "max_saliency": "low",
}
"""Score → which end of it speaks of a bad map. Small objects are the harder ones; what touches the border, the less
clear ones."""

ERRORS = {"mae": "MAE", "s_error": "1 - S", "iou_error": "1 - IoU"}
"""Name of an error → what people call it; all in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """One score against one error."""

    risks: tuple[float, ...]
    """Mean error of the best n images by the score, n = 1 … N."""
    oracle_risks: tuple[float, ...]
    """The same if the errors themselves were the score."""

    @property
    def aurc(self) -> float:
        """Mean risk over all coverages."""
        return float(np.mean(self.risks))

    @property
    def oracle_aurc(self) -> float:
        """The least that any score can have."""
        return float(np.mean(self.oracle_risks))

    @property
    def random_aurc(self) -> float:
        """What is expected of a score that knows nothing: the mean error of all images."""
        return self.risks[-1]

    @property
    def third_dropped(self) -> float:
        """Mean error of what is left without the worst third of the images, rounded down."""
        return self.risks[len(self.risks) - len(self.risks) // 3 - 1]

    @property
    def e_aurc(self) -> float:
        """How far from the oracle."""
        return self.aurc - self.oracle_aurc

    @property
    def gain(self) -> float | None:
        """How far from random (0) to the oracle (1); None if all errors are equal."""
        possible = self.random_aurc - self.oracle_aurc
        # Sums in another order differ in their last bits, which is no possible gain.
        return None if possible <= 1e-12 * self.random_aurc else (self.random_aurc - self.aurc) / possible

    @property
    def lowered_by(self) -> float | None:
        """Share by which dropping the worst third lowers the mean error; None if there is no error."""
        return None if self.random_aurc == 0 else 1 - self.third_dropped / self.random_aurc


def risk_coverage(scores: Float[np.ndarray, " n"], errors: Float[np.ndarray, " n"], worse: Worse) -> RiskCoverage:
    """How well a score sorts out large errors.

    Args:    scores: finite; only their order matters.
             errors: at least one, finite, not negative.
             worse: which end of the score speaks of a bad map.
    Raises:  ValueError: lengths differ, there are none, or a value is not finite.
    """
    if scores.shape != errors.shape or scores.ndim != 1 or not scores.size:
        raise ValueError(f"{scores.shape} scores and {errors.shape} errors; as many of both are needed, at least one")
    if not (np.isfinite(scores).all() and np.isfinite(errors).all()):
        raise ValueError("a score or an error is not finite")
    badness = scores if worse == "high" else -scores
    return RiskCoverage(risks=_risks(badness, errors), oracle_risks=_risks(errors, errors))


def by_score(
    scores: Sequence[Mapping[str, float]], measures: Sequence[ImageMeasures]
) -> dict[str, dict[str, RiskCoverage]]:
    """Score → error → how well the one sorts out the other; of the scores and measures that all images have."""
    errors = {name: np.array(values) for name, values in _errors(measures).items()}
    names = [name for name in WORSE_WHEN if all(name in row for row in scores)] if scores else []
    return {
        name: {
            error: risk_coverage(np.array([row[name] for row in scores]), values, WORSE_WHEN[name])
            for error, values in errors.items()
        }
        for name in names
    }


def _errors(measures: Sequence[ImageMeasures]) -> dict[str, list[float]]:
    """Error → its value for each image."""
    found = {
        "mae": [image.mae for image in measures],
        "s_error": [None if image.s_measure is None else 1 - image.s_measure for image in measures],
        "iou_error": [None if image.iou is None else 1 - image.iou for image in measures],
    }
    return {name: [v for v in values if v is not None] for name, values in found.items() if None not in values}


def _risks(badness: Float[np.ndarray, " n"], errors: Float[np.ndarray, " n"]) -> tuple[float, ...]:
    """Mean error of the n images of least badness, n = 1 … N."""
    _, group, sizes = np.unique(badness, return_inverse=True, return_counts=True)
    # Within a group by error, so that the same images in another order sum up to the same last bit.
    order = np.lexsort((errors, group))
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    expected = np.repeat(np.add.reduceat(errors[order], starts) / sizes, sizes)
    return tuple((np.cumsum(expected) / np.arange(1, len(errors) + 1)).tolist())
