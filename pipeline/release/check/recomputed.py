"""Scores measured again on the maps that a release stores, and compared with the ones it states. Pure.

Stored maps have 8 bits and the image's own size; scores were measured on the members, at processing resolution.
So `area` and `border` must be equal, `max_saliency` can be off by half a step, and the others by what rounding and
resizing do: rounding has a bound, and `pipeline/DECISIONS.md` says what was measured for resizing.

`pairwise_iou` needs the members, which no release has. Nor has it maps of images that it rejected.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from model.rounds import variance_scale
from pipeline.files.maps import mask_of, variance_of
from pipeline.selection.scores import SCORE_TABLE, STABILITY_OFFSET, Maps

Made = Mapping[str, str]
"""The fingerprint of a run, as `release.json` states it."""
Stated = Mapping[str, Any]
"""A row of a manifest."""

Counts = Int[np.ndarray, "256"]
"""Stored number → pixels that have it."""

EXACT = ("area", "border")
_STORED = np.arange(256, dtype=np.uint8)
_HALF_STEP = 1 / 510
"""Largest error of a stored saliency."""
_ROUNDING = 1e-7
"""Relative error of the sums of float32 and float64 values."""
_TRAINED_PX = 192
"""Processing resolution where the fingerprint names none: the smallest for which any weights were trained."""
_FAKE_PX = 32
"""That of the stand-in."""
_LEAST_PX = 32
"""The smallest processing resolution there is."""
_MOST_DIGITS = 10
_PLAIN = {"alignment": "none", "stretch": "False", "reduction": "mean"}
"""Field of a fingerprint → its value if the stored maps are the mean and variance of the members as they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """The values that a score can have had."""

    low: float
    high: float


def not_recomputable(made_with: Made) -> dict[str, str]:
    """Scores that this run's maps can't confirm though maps of other runs can → why.

    The members were aligned or stretched, or joined by their median, before the maps were stored; scores are measured
    on the members as they were.
    """
    differing = [name for name, plain in _PLAIN.items() if made_with.get(name, plain) != plain]
    if not differing:
        return {}
    why = f"the run was made with {', '.join(f'{name} {made_with[name]}' for name in differing)}"
    names = ("ensemble_variance_per_area", "stability")
    return dict.fromkeys(names if differing == ["reduction"] else ("ensemble_variance", *names), why)


def score_problems(
    saliency: UInt8[np.ndarray, "h w"], variance: UInt8[np.ndarray, "h w"], row: Stated, made_with: Made
) -> Iterator[str]:
    """Stated scores that the stored maps contradict. Whether one may be unknown is a question to the whole manifest.

    Args: saliency, variance: as stored (`files/maps.py`), of one image.
          row: the image's row, with its scores and number of members.
    """
    possible = possible_scores(saliency, variance, int(row["members"]), made_with)
    for name, between in possible.items():
        stated = row[name]
        if stated is not None and not between.low <= stated <= between.high:  # written so that NaN is caught
            found = f"{between.low:.6g}" if between.low == between.high else f"{between.low:.6g} to {between.high:.6g}"
            yield f"{name} is {stated!r}; the stored maps give {found}"


def possible_scores(
    saliency: UInt8[np.ndarray, "h w"], variance: UInt8[np.ndarray, "h w"], members: int, made_with: Made
) -> dict[str, Between]:
    """Score → the values that it can have had, for every score that these maps can confirm."""
    mask, highest = mask_of(saliency), np.array([[saliency.max() / 255]])
    maps = Maps(members=highest[None], mean=highest, saliency=highest, mask=mask, variance_scale=1.0)
    possible = {name: _exactly(_measured(name, maps)) for name in EXACT}
    error = _HALF_STEP + _ROUNDING
    possible["max_saliency"] = _within(_measured("max_saliency", maps), error, SCORE_TABLE["max_saliency"].highest)
    shape, counts = saliency.shape, np.bincount(saliency.ravel(), minlength=256)
    spread = _variance(np.bincount(variance.ravel(), minlength=256), shape, members, made_with)
    possible["ensemble_variance"] = spread
    possible["ensemble_variance_per_area"] = _per_area(spread, counts, shape, made_with)
    possible["stability"] = _stability(counts, shape, made_with)
    unknown = not_recomputable(made_with)
    return {name: between for name, between in possible.items() if name not in unknown}


def _measured(name: str, maps: Maps) -> float:
    measure = SCORE_TABLE[name].measure
    assert measure is not None
    return measure(maps)


def _mean(values: Float[np.ndarray, "256"], counts: Counts) -> float:
    """The mean of what the stored numbers stand for."""
    return float(values @ counts / counts.sum())


def _variance(counts: Counts, shape: tuple[int, ...], members: int, made_with: Made) -> Between:
    """A stored deviation is off by up to 1/1020; where it is the largest, the variance was cut to 0.25."""
    found = variance_of(_STORED[None])[0]
    mean, rounding = _mean(found, counts), _mean(np.sqrt(found) / 510 + 1 / 1020**2, counts)
    whole = _number(made_with, "ensemble_size") or members
    cut = max(0.0, variance_scale(members, whole) - 1) / 4 if 0 < members < whole else 0.0
    high = min(0.25, mean + float(counts[255] / counts.sum()) * cut)
    low = mean - rounding - _resizing(mean, shape, made_with)
    high += rounding + _resizing(high, shape, made_with)
    return Between(low=max(0.0, low - _ROUNDING), high=min(0.25, high + _ROUNDING))


def _resizing(variance: float, shape: tuple[int, ...], made_with: Made) -> float:
    """How far resizing a variance map can move its mean."""
    shorter = min(shape)
    if made_with.get("weights") == "fake":  # takes every n-th pixel, so outlines of a few pixels make much of it
        sampled = min(shape[0], _FAKE_PX) * min(shape[1], _FAKE_PX)
        error = max(2.0, 800 / shorter**2) * 0.5 / float(np.sqrt(sampled))
        return error * error + error * float(np.sqrt(variance))
    return variance * ((0.01 if made_with.get("resize_filter") == "bicubic" else 0.003) + 4 / shorter**2)


def _per_area(spread: Between, counts: Counts, shape: tuple[int, ...], made_with: Made) -> Between:
    found, shorter = _mean(_STORED / 255, counts), min(shape)
    resizing = 0.05 + 20 / shorter**2 if made_with.get("weights") == "fake" else 0.003 + 4 / shorter**2
    error = _HALF_STEP + resizing * found
    score = SCORE_TABLE["ensemble_variance_per_area"]
    return Between(
        low=spread.low / max(found + error, 1e-3), high=min(score.highest, spread.high / max(found - error, 1e-3))
    )


def _stability(counts: Counts, shape: tuple[int, ...], made_with: Made) -> Between:
    """Pixels stored as a threshold may have been on either side of it; resizing moves outlines by parts of a pixel."""
    above, below = (255 * (0.5 + offset) for offset in (STABILITY_OFFSET, -STABILITY_OFFSET))
    sure_above, sure_below = (int(counts[threshold + 0.51 < _STORED].sum()) for threshold in (above, below))
    may_above, may_below = (int(counts[threshold - 0.51 <= _STORED].sum()) for threshold in (above, below))
    if not may_below:
        return Between(low=0.0, high=1.0)
    side = _processing_px(made_with, min(shape))
    seen = may_below / int(counts.sum()) * min(shape[0], side) * min(shape[1], side)
    outline = (1.0 if min(shape) >= side else 2.5) / float(np.sqrt(seen))
    low, high = sure_above / may_below, may_above / max(sure_below, 1)
    return Between(low=max(0.0, low - outline), high=min(1.0, high + outline))


def _processing_px(made_with: Made, own_px: int) -> int:
    if made_with.get("weights") == "fake":
        return _FAKE_PX
    configured = _number(made_with, "processing_res")
    return _TRAINED_PX if configured is None else max(configured or own_px, _LEAST_PX)


def _number(made_with: Made, name: str) -> int | None:
    """A number of the fingerprint; None if it states none, as a forger may have it."""
    stated = made_with.get(name, "")
    return int(stated) if stated.isdecimal() and len(stated) <= _MOST_DIGITS else None


def _exactly(value: float) -> Between:
    return Between(low=value, high=value)


def _within(value: float, error: float, highest: float) -> Between:
    return Between(low=max(0.0, value - error), high=min(highest, value + error))
