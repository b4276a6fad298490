"""Releases whose truth is known, and audits of them: what the tests of certificates are measured by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.audit.certificate import make_certificate
from pipeline.audit.config import AuditConfig
from pipeline.audit.draw import allocation
from pipeline.audit.labour import Work
from pipeline.audit.outcomes import Outcome
from pipeline.audit.plan import AuditPlan, Drawn
from pipeline.selection.scores import SCORE_TABLE

TABLE = {name: SCORE_TABLE[name] for name in ("ensemble_variance", "pairwise_iou", "instance_iou")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A release: the true IoU, the scores and the stratum of each accepted image."""

    ious: np.ndarray
    rows: dict[str, dict[str, Any]]
    strata: np.ndarray

    @property
    def keys(self):
        return list(self.rows)


def release_of(ious, strata=None, seed=0, noise=0.05):
    """A release with these IoUs; its scores know about them, but for noise."""
    rng = np.random.default_rng(seed)
    ious = np.asarray(ious, dtype=float)
    predicted = np.clip(ious + rng.normal(0, noise, len(ious)), 0, 1)
    rows = {
        f"{place:012d}": {"pairwise_iou": float(value), "ensemble_variance": float(1 - value) / 4, "instance_iou": None}
        for place, value in enumerate(predicted)
    }
    strata = np.array(["all"] * len(ious)) if strata is None else np.asarray(strata)
    return Truth(ious=ious, rows=rows, strata=strata)


def realistic_ious(images, rng, bad=0.05):
    """Most masks are nearly right, some are poor, a few show another object."""
    kind = rng.random(images)
    poor = np.where(kind < bad / 2, 0.0, rng.beta(4, 2, images))
    return np.where(kind < bad, poor, 1 - rng.beta(1.2, 30, images))


def audit_of(
    truth,
    rng,
    unknown: Callable[[np.ndarray], np.ndarray] | None = None,
    judged: Callable[[np.ndarray], np.ndarray] = lambda ious: ious,
    **options,
):
    """Draw images, judge them, and return the plan and the outcomes.

    Args: unknown: from the IoUs drawn, in the order of the draw, to which of them nobody knows.
          judged: from the same to what people say.
    """
    config = AuditConfig(**{"overlap": 0.0, "predict_with": "", **options})
    names, sizes = np.unique(truth.strata, return_counts=True)
    strata = dict(zip(names.tolist(), sizes.tolist(), strict=True))
    drawn = [
        rng.choice(np.flatnonzero(truth.strata == name), count, replace=False)
        for name, count in allocation(strata, config.images).items()
    ]
    places = rng.permutation(np.concatenate(drawn))
    ious = judged(truth.ious[places])
    missing = np.zeros(len(places), dtype=bool) if unknown is None else unknown(ious)
    keys = truth.keys
    plan = AuditPlan(
        name="masks",
        version="1.0.0",
        sha256="ab" * 32,
        population=len(truth.ious),
        strata=strata,
        config=config,
        sample=tuple(Drawn(key=keys[place], stratum=str(truth.strata[place]), raters=("rater-1",)) for place in places),
    )
    outcomes = [
        outcome_of(image.key, iou, stratum=image.stratum, is_unknown=is_unknown)
        for image, iou, is_unknown in zip(plan.sample, ious.tolist(), missing.tolist(), strict=True)
    ]
    return plan, outcomes


def outcome_of(key, iou, *, stratum="all", is_unknown=False, is_adjudicated=False):
    if is_unknown:
        verdict, iou, best = "missing", 0.0, 1.0
    else:
        verdict, best = "right" if iou == 1 else "fix" if iou > 0 else "wrong_object", iou
    errors = (0.0, 1.0) if is_unknown or verdict == "wrong_object" else (pixel_errors_of(iou),) * 2
    return Outcome(
        key=key,
        stratum=stratum,
        verdict=verdict,
        iou=iou,
        best_iou=best,
        pixel_error=errors[0],
        worst_pixel_error=errors[1],
        is_adjudicated=is_adjudicated,
    )


def pixel_errors_of(ious):
    """Objects fill a third of their images, and masks err by a part of it; of a wrong object nobody knows how far."""
    return (1 - ious) / 3


def certify(truth, plan, outcomes, pairs=(), work=(), **options):
    return make_certificate(plan, truth.rows, TABLE, outcomes, pairs, work, **options)


WORK = Work(rater="rater-1", images=3, seconds=5400.0, untimed=0, sources={"page": 3})
