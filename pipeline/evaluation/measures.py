"""Measure one saliency map against one mask with the field's measures; pysodmetrics computes them.

The measures and their sources (P precision, R recall; at each of 256 thresholds, or "adaptive": at twice the map's
mean):

- MAE, in [0, 1], lower is better: mean absolute difference of map and mask. Perazzi et al., CVPR 2012.
- S-measure, in [0, 1]: one half compares object and background by mean and spread, the other half compares four
  regions by structure. Fan et al., ICCV 2017.
- weighted F, in [0, 1]: F of the unthresholded map, with errors weighted by their distance from the object; beta² = 1.
  Margolin et al., CVPR 2014.
- F = (1 + beta²) P R / (beta² P + R), in [0, 1], with beta² = 0.3, which gives precision more weight. Achanta et al.,
  CVPR 2009.
- E-measure: how mask and thresholded map deviate together from their means. Fan et al., IJCAI 2018. It divides by the
  number of pixels minus one, so it lies in [0, N / (N - 1)].
- IoU of the mask and the map above 0.5, in [0, 1]: our own, for the errors of masks.

Special cases follow the library. If nothing is salient, F and weighted F are 0 whatever is predicted, S is 1 minus the
map's mean, and E is the share of background. If everything is salient, S is the map's mean. A constant map is not
stretched. IoU is 1 if neither has an object. One case differs: if an object's centre lies in the last row or column,
the library divides zero by zero; here S stays a number, since a region without pixels has no weight.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import py_sod_metrics
from jaxtyping import Bool, Float, UInt8
from py_sod_metrics.utils import EPS

from pipeline.evaluation.counted import Counted, Thresholded
from pipeline.evaluation.weighted_f import weighted_f

Metric = Literal["mae", "s_measure", "weighted_f", "f_measure", "e_measure", "iou"]
ALL_METRICS: tuple[Metric, ...] = get_args(Metric)
QUICK_METRICS: tuple[Metric, ...] = ("mae", "s_measure", "f_measure")
"""Enough to follow a training: 1 ms for an image of 160 x 160 px, while all metrics take 2.5 ms."""

Curve = Float[np.ndarray, "256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMeasures:
    """The measures of one image; None if they were not requested.

    Curves are at the thresholds 255, 254, …, 0 of 255: a pixel is salient if the map is not below the threshold.
    """

    empty_truth: bool
    """The mask has no salient pixel."""
    constant_map: bool
    """The map has one value everywhere."""
    mae: float | None = None
    s_measure: float | None = None
    weighted_f: float | None = None
    f_curve: Curve | None = None
    adaptive_f: float | None = None
    precision: Curve | None = None
    recall: Curve | None = None
    e_curve: Curve | None = None
    adaptive_e: float | None = None
    iou: float | None = None

    @property
    def max_e(self) -> float | None:
        """E at this image's own best threshold."""
        return None if self.e_curve is None else float(self.e_curve.max())

    @property
    def max_f(self) -> float | None:
        """F at this image's own best threshold; for a dataset, see `Summary`."""
        return None if self.f_curve is None else float(self.f_curve.max())


def measure(
    prediction: UInt8[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "h w"],
    *,
    normalize: bool = True,
    metrics: Collection[Metric] = ALL_METRICS,
) -> ImageMeasures:
    """Measure a saliency map against a mask of the same size; the module lists the measures and special cases.

    Args:    prediction: 0 to 255; higher is more salient.
             truth: True where the object is.
             normalize: stretch the map's range to 0..1, as `normalize=True` of the library does for published figures;
                      otherwise value v means v / 255.
             metrics: the measures to compute; the time depends on them.
    Raises:  ValueError: a size or type is wrong, the image has fewer than two pixels, or a metric is unknown.
    """
    if unknown := set(metrics) - set(ALL_METRICS):
        raise ValueError(f"unknown metric {sorted(unknown)[0]!r}; metrics are {', '.join(ALL_METRICS)}")
    if prediction.dtype != np.uint8 or truth.dtype != np.bool_:
        raise ValueError(f"map is {prediction.dtype} and mask is {truth.dtype}; they must be uint8 and bool")
    if prediction.shape != truth.shape or truth.ndim != 2 or truth.size < 2:
        raise ValueError(
            f"map is {prediction.shape} and mask is {truth.shape}; "
            "they must have the same size [H, W] of two pixels or more"
        )
    counted = Counted(prediction, truth, normalize=normalize)
    measured: dict[str, float | Curve] = {}
    for metric in metrics:
        measured |= _MEASURES[metric](counted)
    return ImageMeasures(
        empty_truth=not counted.object_px,
        constant_map=counted.is_constant,
        **measured,  # type: ignore[arg-type]
    )


def worst(truth: Bool[np.ndarray, "h w"], *, metrics: Collection[Metric] = ALL_METRICS) -> ImageMeasures:
    """The measures of an image without a usable map: MAE 1, and 0 for all others, also at every threshold.

    No map is worse by any of them. A single map that is as bad by all of them need not exist.
    """
    nothing = np.zeros(256)
    values: dict[Metric, dict[str, float | Curve]] = {
        "mae": {"mae": 1.0},
        "s_measure": {"s_measure": 0.0},
        "weighted_f": {"weighted_f": 0.0},
        "f_measure": {"f_curve": nothing, "adaptive_f": 0.0, "precision": nothing, "recall": nothing},
        "e_measure": {"e_curve": nothing, "adaptive_e": 0.0},
        "iou": {"iou": 0.0},
    }
    chosen = {name: value for metric in metrics for name, value in values[metric].items()}
    return ImageMeasures(empty_truth=not truth.any(), constant_map=False, **chosen)  # type: ignore[arg-type]


def _mae(counted: Counted) -> dict[str, float | Curve]:
    return {"mae": float(np.mean(counted.errors))}


class _WholeSmeasure(py_sod_metrics.Smeasure):  # type: ignore[misc]
    """The library's measure, except for regions without pixels: there it gives NaN, and so for the whole dataset."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self._counted = counted

    def object(self, pred: Float[np.ndarray, "h w"], gt: Bool[np.ndarray, "h w"]) -> float:
        """Similarity of object and background, from values that other measures need too."""
        share = np.mean(gt)
        of_object, of_background = self._counted.in_object, 1 - self._counted.in_background
        return float(self.s_object(of_object) * share + self.s_object(of_background) * (1 - share))

    def ssim(self, pred: Float[np.ndarray, "h w"], gt: Bool[np.ndarray, "h w"]) -> float:
        """Similarity in one of the four regions; its weight is its share of the pixels."""
        return float(super().ssim(pred, gt)) if gt.size else 0.0


def _s_measure(counted: Counted) -> dict[str, float | Curve]:
    return {"s_measure": float(_WholeSmeasure(counted).cal_sm(counted.values, counted.truth))}


def _weighted_f(counted: Counted) -> dict[str, float | Curve]:
    return {"weighted_f": weighted_f(counted)}


def _f_measure(counted: Counted) -> dict[str, float | Curve]:
    f = py_sod_metrics.FmeasureHandler(with_dynamic=False, with_adaptive=False, beta=0.3)
    thresholds = asdict(counted.at_thresholds)
    return {
        "f_curve": f(**thresholds),
        "adaptive_f": float(f(**asdict(counted.at_adaptive_threshold))),
        "precision": py_sod_metrics.PrecisionHandler(with_dynamic=False, with_adaptive=False)(**thresholds),
        "recall": py_sod_metrics.RecallHandler(with_dynamic=False, with_adaptive=False)(**thresholds),
    }


def _e_measure(counted: Counted) -> dict[str, float | Curve]:
    adaptive = counted.at_adaptive_threshold
    return {
        "e_curve": _alignment(counted, counted.at_thresholds),
        "adaptive_e": float(_alignment(counted, adaptive)),
    }


def _alignment(counted: Counted, found: Thresholded) -> Any:
    """E at one threshold or at all of them: `cal_em_with_cumsumhistogram` of the library, after its histograms."""
    salient = found.tp + found.fp
    background = counted.pixels - salient
    if not counted.object_px:
        total = background
    elif counted.object_px == counted.pixels:
        total = salient
    else:
        library = py_sod_metrics.Emeasure()
        library.gt_fg_numel, library.gt_size = counted.object_px, counted.pixels
        parts, combinations = library.generate_parts_numel_combinations(found.tp, found.fp, salient, background)
        total = sum(
            (2 * (one * other) / (one**2 + other**2 + EPS) + 1) ** 2 / 4 * pixels
            for pixels, (one, other) in zip(parts, combinations, strict=True)
        )
    return total / (counted.pixels - 1 + EPS)


def _iou(counted: Counted) -> dict[str, float | Curve]:
    found = counted.above_half
    union = counted.object_px + found.fp
    return {"iou": found.tp / union if union else 1.0}


_MEASURES: dict[Metric, Callable[[Counted], dict[str, float | Curve]]] = {
    "mae": _mae,
    "s_measure": _s_measure,
    "weighted_f": _weighted_f,
    "f_measure": _f_measure,
    "e_measure": _e_measure,
    "iou": _iou,
}
