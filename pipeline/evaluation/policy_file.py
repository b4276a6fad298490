"""What is said of a fitted combination, in `evaluation.json` and in the policy file with its coefficients. Pure."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.evaluation.confident import LOST_SHARES
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.fit import Fit
from pipeline.evaluation.risk_coverage import badness, errors_of, risk_coverage
from pipeline.shown import printable

BASELINE = "ensemble_variance"
"""The score that a combination is compared with."""


def fit_figures(fit: Fit, evaluation: Evaluation) -> dict[str, Any]:
    """What `evaluation.json` says of a combination: its coefficients, and figures of the values out of fold."""
    bad = badness(fit.out_of_fold, "high")
    errors = errors_of([image.measures for image in evaluation.images])
    baseline = evaluation.risk_coverage.get(BASELINE, {})
    wrong = evaluation.confidently_wrong
    return {
        "combination": list(fit.combination.texts()),
        "against_sense": _against_sense(fit, evaluation),
        "method": fit.method,
        "images": fit.images,
        "bad": fit.bad,
        "folds": fit.folds,
        "out_of_fold": {
            "aurc": {error: risk_coverage(bad, values, "high").aurc for error, values in errors.items()},
            "aurc_of_baseline": {error: found.aurc for error, found in baseline.items()},
            "caught": wrong.caught(bad) if wrong else {},
            "wrong": int(wrong.wrong.sum()) if wrong else 0,
            "bounds": _bounds(fit, evaluation),
            "brier": fit.brier,
            "brier_of_share": fit.brier_of_share,
        },
    }


def policy_file(figures: Mapping[str, Any], name: str, truths_sha256: str) -> bytes:
    """The policy file of a combination, with what is known of it in comments.

    Args: figures: as `fit_figures` gives them. name: of what was evaluated. truths_sha256: as in `evaluation.json`.
    """
    found, below = figures["out_of_fold"], figures["combination"][0].partition(" ")[2]
    lines = [
        f"Fitted by sod evaluate --fit-combination ({figures['method']}) on {figures['images']} images of",
        f"{printable(name)} (SHA-256 of its masks: {truths_sha256}).",
        f"{figures['bad']} of them are bad: the IoU of the mask with the truth is below {below}. What follows was",
        f"computed for each image by a fit without it ({figures['folds']} folds); the coefficients are of a fit on all",
    ]
    for error, aurc in found["aurc"].items():
        alone = found["aurc_of_baseline"].get(error)
        beside = "" if alone is None else f"; {BASELINE} alone {alone:.4f}"
        lines.append(f"AURC, {error}: {aurc:.4f}{beside}")
    for name_of_share, share in LOST_SHARES.items():
        if name_of_share in found["caught"]:
            caught, bound = f"{found['caught'][name_of_share]} of {found['wrong']}", found["bounds"][name_of_share]
            lines.append(f'thresholds = ["combination <= {bound!r}"]: caught {caught}, at most {share:.0%} lost')
    lines.append(f"Brier score {found['brier']:.4f}; {found['brier_of_share']:.4f} if it said the share of bad masks")
    if figures["against_sense"]:
        lines.append(
            f"The fit counts {' and '.join(figures['against_sense'])} the wrong way round: leave out what adds noise"
        )
    comments = [f"# {line}" for line in lines]
    values = [f"    {json.dumps(text)}," for text in figures["combination"]]
    return "\n".join([*comments, "combination = [", *values, "]", ""]).encode()


def _against_sense(fit: Fit, evaluation: Evaluation) -> list[str]:
    """Scores by whose bad end the combination takes a mask for better: the others tell more, or images are too few."""
    weights = fit.combination.weights
    return [name for name, weight in weights if weight * (1 if evaluation.table[name].worse_when == "high" else -1) < 0]


def _bounds(fit: Fit, evaluation: Evaluation) -> dict[str, float]:
    """The lowest bounds that drop no more than a share of the good images: name of the share → bound."""
    wrong = evaluation.confidently_wrong
    if wrong is None:
        return {}
    of_good = np.sort(badness(fit.out_of_fold, "high")[wrong.good])[::-1]
    return {name: _up(float(of_good[int(share * len(of_good) + 1e-9)])) for name, share in LOST_SHARES.items()}


def _up(value: float) -> float:
    """The value with four decimals, not below it, so that an image on the bound still passes."""
    return min(1.0, float(np.ceil(value * 1e4) / 1e4))
