"""Fit a policy's combination of scores on images with ground truth, and judge it on images that were held back.

A mask is bad if its IoU with the truth is below a bound. Logistic regression on standardised scores, with the default
penalty of scikit-learn (C = 1), estimates how likely that is; `isotonic` then turns its z into the shares that
held-back images had (Zadrozny & Elkan 2002, doi:10.1145/775047.775151). What is reported was computed for each image
by coefficients of a fit without it: stratified folds of shuffled images, with a fixed seed. The coefficients that are
written are those of a fit on all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pipeline.errors import PipelineError
from pipeline.selection.combination import Combination

Method = Literal["logistic", "isotonic"]
MOST_FOLDS = 10
FEWEST_OF_A_KIND = 5
"""Bad images, and good ones, that a fit needs: fewer give no folds worth the name."""
_INNER_FOLDS = 5
_DIGITS = 9
"""Significant digits of coefficients: more say nothing, and the file is for people too."""

_Scores = Sequence[Mapping[str, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A combination, and what it says of images that it has not seen."""

    combination: Combination
    method: Method
    images: int
    """That were fitted on: those with all of the scores."""
    bad: int
    """Of these."""
    folds: int
    out_of_fold: tuple[float | None, ...]
    """The combination of each image, by coefficients of a fit without it; None without one of the scores."""
    brier: float
    """Mean squared distance of these from 0 for good and 1 for bad images."""
    brier_of_share: float
    """The same for a combination that says the share of bad images of every image."""


def fit_combination(
    scores: _Scores, ious: Sequence[float], names: Sequence[str], method: Method, iou_below: float
) -> Fit:
    """Fit on images that have all of the scores.

    Args:   names: of the scores that the combination is made of.
            iou_below: below this a mask is bad.
    Raises: PipelineError: too few images are bad, or too few are good.
    """
    known = [place for place, row in enumerate(scores) if all(row.get(name) is not None for name in names)]
    values = np.array([[scores[place][name] for name in names] for place in known], dtype=np.float64)
    bad = np.array([ious[place] < iou_below for place in known], dtype=np.bool_)
    fewest = int(min(bad.sum(), (~bad).sum())) if known else 0
    if fewest < FEWEST_OF_A_KIND:
        raise PipelineError(
            f"--fit-combination: of {len(known)} images with {' and '.join(names)}, {int(bad.sum())} have an IoU below "
            f"{iou_below:g}; at least {FEWEST_OF_A_KIND} must, and as many must not. Give more images, or another "
            "--bad-below"
        )
    folds = StratifiedKFold(n_splits=min(MOST_FOLDS, fewest), shuffle=True, random_state=0)
    out_of_fold: list[float | None] = [None] * len(scores)
    with threadpool_limits(1):  # matrices of a few columns: threads only wait for each other
        combination = _fitted(values, bad, names, method, iou_below)
        for fitted_on, held_back in folds.split(values, bad):
            without = _fitted(values[fitted_on], bad[fitted_on], names, method, iou_below)
            for place in held_back:
                out_of_fold[known[place]] = without.value(scores[known[place]])
    said = np.array([out_of_fold[place] for place in known], dtype=np.float64)
    return Fit(
        combination=combination,
        method=method,
        images=len(known),
        bad=int(bad.sum()),
        folds=folds.get_n_splits(),
        out_of_fold=tuple(out_of_fold),
        brier=float(np.mean(np.square(said - bad))),
        brier_of_share=float(bad.mean() * (1 - bad.mean())),
    )


def _fitted(
    values: Float[np.ndarray, "n s"],
    bad: Bool[np.ndarray, " n"],
    names: Sequence[str],
    method: Method,
    iou_below: float,
) -> Combination:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(values, bad)
    scaler, regression = model[0], model[1]
    weights = regression.coef_[0] / scaler.scale_
    intercept = float(regression.intercept_[0] - weights @ scaler.mean_)
    points: tuple[tuple[float, float], ...] = ()
    if method == "isotonic":
        # On z of the images themselves, the steps would be those of the noise.
        inner = StratifiedKFold(n_splits=min(_INNER_FOLDS, int(min(bad.sum(), (~bad).sum()))))
        z = cross_val_predict(model, values, bad, cv=inner, method="decision_function")
        points = _points(z, bad)
    return Combination(
        intercept=_rounded(intercept),
        weights=tuple(sorted((name, _rounded(weight)) for name, weight in zip(names, weights, strict=True))),
        points=points,
        iou_below=iou_below,
    )


def _points(z: Float[np.ndarray, " n"], bad: Bool[np.ndarray, " n"]) -> tuple[tuple[float, float], ...]:
    """Ends of the steps of the isotonic regression; two at least."""
    steps = IsotonicRegression(y_min=0, y_max=1).fit(z, bad)
    points = {_rounded(at): _rounded(value) for at, value in zip(steps.X_thresholds_, steps.y_thresholds_, strict=True)}
    if len(points) == 1:
        ((at, value),) = points.items()
        points[at + 1] = value
    return tuple(sorted(points.items()))


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
