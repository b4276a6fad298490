"""How well our scores predict the errors: the error of the kept images when the worst by a score are dropped.

The best n of N images by a score are kept; their share n / N is the coverage, their mean error the risk. AURC is the
mean risk over all coverages n = 1 … N: the mean error of a filter whose threshold has not been chosen yet. Source:
Geifman & El-Yaniv, NeurIPS 2017; Geifman, Uziel & El-Yaniv, ICLR 2019, arXiv:1805.08206.

An AURC alone says little, since it grows with the errors. Compare it with two others: that of the oracle, which knows
the errors and drops the largest first, and that of dropping at random, whose risk is the mean error at every coverage:

- `e_aurc` = AURC - oracle, the excess of that paper: 0 is perfect.
- `gain` = (random - AURC) / (random - oracle): 1 is as good as knowing the errors, 0 as good as dropping at random,
  below 0 is worse. None if all errors are equal, since nothing can be gained.

A threshold can't separate images of equal score, so each of them counts with their mean error: the expected value if
ties are broken at random. Hence the order of the images does not matter.

An image that a score pass could not score is the first to be dropped, since a bound rejects what is unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.evaluation.measures import ImageMeasures
from pipeline.selection.columns import ScoreTable
from pipeline.selection.scores import SCORES, Worse

ERRORS = {"mae": "MAE", "s_error": "1 - S", "iou_error": "1 - IoU"}
"""Name of an error → its usual label; all errors are in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """How well one score predicts one error."""

    risks: tuple[float, ...]
    """Mean error of the best n images by the score, n = 1 … N."""
    oracle_risks: tuple[float, ...]
    """Mean error of the best n images by the error itself, n = 1 … N."""

    @property
    def aurc(self) -> float:
        """Mean risk over all coverages."""
        return float(np.mean(self.risks))

    @property
    def oracle_aurc(self) -> float:
        """The lowest AURC that a score can have."""
        return float(np.mean(self.oracle_risks))

    @property
    def random_aurc(self) -> float:
        """Expected AURC of a score that knows nothing: the mean error of all images."""
        return self.risks[-1]

    @property
    def third_dropped(self) -> float:
        """Mean error of the images left after dropping the worst third of them, rounded down."""
        return self.risks[len(self.risks) - len(self.risks) // 3 - 1]

    @property
    def e_aurc(self) -> float:
        """Distance from the oracle."""
        return self.aurc - self.oracle_aurc

    @property
    def gain(self) -> float | None:
        """Position between random (0) and the oracle (1); None if all errors are equal."""
        possible = self.random_aurc - self.oracle_aurc
        # Sums in another order differ in their last bits; that is not a gain.
        return None if possible <= 1e-12 * self.random_aurc else (self.random_aurc - self.aurc) / possible

    @property
    def lowered_by(self) -> float | None:
        """Share by which dropping the worst third lowers the mean error; None if the mean error is 0."""
        return None if self.random_aurc == 0 else 1 - self.third_dropped / self.random_aurc


def risk_coverage(scores: Float[np.ndarray, " n"], errors: Float[np.ndarray, " n"], worse: Worse) -> RiskCoverage:
    """Measure how well a score finds large errors.

    Args:    scores: finite; only their order matters.
             errors: at least one, finite, not negative.
             worse: the end of the score that indicates a bad map.
    Raises:  ValueError: lengths differ or are 0, or a value is not finite.
    """
    if scores.shape != errors.shape or scores.ndim != 1 or not scores.size:
        raise ValueError(f"{scores.shape} scores and {errors.shape} errors; equally many are needed, at least one")
    if not (np.isfinite(scores).all() and np.isfinite(errors).all()):
        raise ValueError("a score or an error is not finite")
    badness = scores if worse == "high" else -scores
    return RiskCoverage(risks=_risks(badness, errors), oracle_risks=_risks(errors, errors))


def risk_coverages(
    scores: Sequence[Mapping[str, float | None]], measures: Sequence[ImageMeasures], table: ScoreTable
) -> dict[str, dict[str, RiskCoverage]]:
    """Compare every score with every error that all images have: score → error → how well the score predicts it."""
    errors = errors_of(measures)
    return {
        name: {error: risk_coverage(bad, values, "high") for error, values in errors.items()}
        for name, bad in badnesses(scores, table).items()
    }


def badnesses(scores: Sequence[Mapping[str, float | None]], table: ScoreTable) -> dict[str, Float[np.ndarray, " n"]]:
    """How bad each image is by each score, of which only the order matters: score → a number per image.

    Scores of a prediction that some image lacks are left out, and scores of passes that all images lack.
    """
    found = {}
    for name, score in table.items():
        values = [row.get(name) for row in scores]
        if (None not in values if name in SCORES else set(values) - {None}) and values:
            found[name] = badness(values, score.worse_when)
    return found


def badness(values: Sequence[float | None], worse: Worse) -> Float[np.ndarray, " n"]:
    """The values, with their sign changed if low ones are bad; where there is none, more than any other."""
    sign = 1 if worse == "high" else -1
    known = [sign * value for value in values if value is not None]
    most = max(known, default=0.0)
    unknown = most + 1 + abs(most)  # distinct from the others whatever their scale
    return np.array([unknown if value is None else sign * value for value in values])


def errors_of(measures: Sequence[ImageMeasures]) -> dict[str, Float[np.ndarray, " n"]]:
    """Error → its value for each image; without errors that some image lacks."""
    return {name: np.array(values) for name, values in _errors(measures).items()}


def _errors(measures: Sequence[ImageMeasures]) -> dict[str, list[float]]:
    found = {
        "mae": [image.mae for image in measures],
        "s_error": [None if image.s_measure is None else 1 - image.s_measure for image in measures],
        "iou_error": [None if image.iou is None else 1 - image.iou for image in measures],
    }
    return {name: [v for v in values if v is not None] for name, values in found.items() if None not in values}


def _risks(badness: Float[np.ndarray, " n"], errors: Float[np.ndarray, " n"]) -> tuple[float, ...]:
    """Mean error of the n least bad images, n = 1 … N."""
    _, group, sizes = np.unique(badness, return_inverse=True, return_counts=True)
    # Sort by error within a group: then the same images in another order give the same sum to the last bit.
    order = np.lexsort((errors, group))
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    expected = np.repeat(np.add.reduceat(errors[order], starts) / sizes, sizes)
    return tuple((np.cumsum(expected) / np.arange(1, len(errors) + 1)).tolist())
