"""A prediction to the numbers that verdicts and users judge it by; pure."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from model.prediction import Prediction

SCORES = (
    "ensemble_variance",
    "ensemble_variance_per_area",
    "pairwise_iou",
    "stability",
    "area",
    "border",
    "max_saliency",
)
"""Names of all scores of a prediction, in the order of the manifest's columns."""

CROSS_CHECKS = ("instance_iou",)
"""Scores of a mask against the annotations; unknown where these have no instances of the image."""

MEANINGS = {
    "ensemble_variance": "variance over the ensemble members (of fewer than others have, scaled to as many), averaged "
    "over the pixels, 0 to 0.25",
    "ensemble_variance_per_area": "the ensemble variance divided by the mean saliency",
    "pairwise_iou": "mean intersection over union of the masks of all pairs of members, 0 to 1",
    "stability": "intersection over union of the masks at thresholds 0.6 and 0.4, 0 to 1",
    "area": "share of the image's pixels that the mask covers, 0 to 1",
    "border": "share of the pixels on the image's border that the mask covers, 0 to 1",
    "max_saliency": "the highest value of the saliency map, 0 to 1",
    "instance_iou": "intersection over union of the mask with the best union of the annotations' own instances, 0 to 1",
}
"""Score → what it is, in the words of card, page and Croissant."""

STABILITY_OFFSET = 0.1
"""How far the mask's threshold is moved to both sides to see whether the mask stands."""


def score(prediction: Prediction) -> dict[str, float]:
    """All scores of one image; the same names in every sample, all finite."""
    return score_members(prediction.members, prediction.saliency, prediction.variance_scale)


def score_members(
    members: Float[np.ndarray, "e ph pw"],
    saliency: Float[np.ndarray, "h w"],
    variance_scale: float,
    names: Sequence[str] = SCORES,
) -> dict[str, float]:
    """Some scores of an image, of its members and its saliency map.

    - `ensemble_variance`: mean of the variance map over all pixels, in [0, 0.25]. Grows with the length of outlines.
    - `ensemble_variance_per_area`: the same divided by the mean saliency; comparable between small and large objects.
    - `pairwise_iou`: mean IoU over all pairs of members' masks, in [0, 1].
    - `stability`: IoU of the masks at 0.5 + 0.1 and at 0.5 - 0.1, in [0, 1], as in Kirillov et al. 2023,
      arXiv:2304.02643.
    - `area`: share of the image's pixels in the mask. `border`: share of the border's pixels in the mask.
    - `max_saliency`: the highest value of the saliency map.

    Args: variance_scale: see `Prediction`.
    """
    mean = members.mean(0, dtype=np.float64)
    mask = saliency >= 0.5

    def variance() -> float:
        return min(0.25, ensemble_variance(members) * variance_scale)

    def stability() -> float:
        upper, lower = mean >= 0.5 + STABILITY_OFFSET, mean >= 0.5 - STABILITY_OFFSET
        return _iou(int((upper & lower).sum()), int((upper | lower).sum()))

    measures: dict[str, Callable[[], float]] = {
        "ensemble_variance": variance,
        "ensemble_variance_per_area": lambda: variance() / max(float(mean.mean()), 1e-3),
        "pairwise_iou": lambda: pairwise_iou(members >= 0.5),
        "stability": stability,
        "area": lambda: float(mask.mean()),
        "border": lambda: _border(mask),
        "max_saliency": lambda: float(saliency.max()),
    }
    return {name: measures[name]() for name in names}


def ensemble_variance(members: Float[np.ndarray, "e h w"]) -> float:
    """Population variance over the members, averaged over the pixels; in [0, 0.25]."""
    return float(members.var(axis=0, dtype=np.float64).mean())


def pairwise_iou(masks: Bool[np.ndarray, "e h w"]) -> float:
    """Mean intersection over union over all pairs of members; two empty masks agree."""
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    shared = flat @ flat.T  # [E, E], pixels in both; exact, since counts are far below 2^53
    areas = np.diag(shared)
    unions = areas[:, None] + areas[None, :] - shared
    pairs = np.triu_indices(len(masks), k=1)
    return float(np.mean([_iou(s, u) for s, u in zip(shared[pairs], unions[pairs], strict=True)]))


def _iou(shared: float, union: float) -> float:
    return float(shared / union) if union else 1.0


def _border(mask: Bool[np.ndarray, "h w"]) -> float:
    on_border = np.ones_like(mask)
    on_border[1:-1, 1:-1] = False
    return float(mask[on_border].mean())
