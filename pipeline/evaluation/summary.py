"""Average the measures of many images into the figures of a dataset, equal to pysodmetrics' to the last bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.measures import ImageMeasures


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Means over the images of a dataset; None for a measure that was not requested.

    `max_` and `mean_` are taken over the thresholds of the mean curve of all images: one threshold for the whole
    dataset. `mean_of_max_` is the mean of what each image has at its own best threshold, which is higher; some papers
    call that max F.
    """

    images: int
    empty_truths: int
    """Images with nothing salient in their mask; they count like the others, by the rules in `measures.py`."""
    constant_maps: int
    mae: float | None
    s_measure: float | None
    weighted_f: float | None
    max_f: float | None
    mean_f: float | None
    mean_of_max_f: float | None
    adaptive_f: float | None
    max_e: float | None
    mean_e: float | None
    mean_of_max_e: float | None
    adaptive_e: float | None
    iou: float | None
    f_curve: tuple[float, ...] | None
    """This and the next three fields: 256 values, at the thresholds 255, 254, …, 0 of 255."""
    e_curve: tuple[float, ...] | None
    precision: tuple[float, ...] | None
    recall: tuple[float, ...] | None


SCALARS = (
    *("mae", "s_measure", "weighted_f"),
    *("max_f", "mean_of_max_f", "mean_f", "adaptive_f"),
    *("max_e", "mean_of_max_e", "mean_e", "adaptive_e"),
    "iou",
)
CURVES = ("precision", "recall", "f_curve", "e_curve")


def summarise(images: Sequence[ImageMeasures]) -> Summary:
    """Average the measures. The order of the images decides the last bit, so sort them by name.

    Raises: ValueError: no images, or not all have the same measures.
    """
    if not images:
        raise ValueError("no image was measured; at least one is needed")
    f, e = _mean_curve(images, "f_curve"), _mean_curve(images, "e_curve")
    return Summary(
        images=len(images),
        empty_truths=sum(image.empty_truth for image in images),
        constant_maps=sum(image.constant_map for image in images),
        mae=_mean(images, "mae"),
        s_measure=_mean(images, "s_measure"),
        weighted_f=_mean(images, "weighted_f"),
        max_f=max(f) if f else None,
        mean_f=float(np.mean(f)) if f else None,
        mean_of_max_f=_mean(images, "max_f"),
        adaptive_f=_mean(images, "adaptive_f"),
        max_e=max(e) if e else None,
        mean_e=float(np.mean(e)) if e else None,
        mean_of_max_e=_mean(images, "max_e"),
        adaptive_e=_mean(images, "adaptive_e"),
        iou=_mean(images, "iou"),
        f_curve=f,
        e_curve=e,
        precision=_mean_curve(images, "precision"),
        recall=_mean_curve(images, "recall"),
    )


def _mean(images: Sequence[ImageMeasures], name: str) -> float | None:
    values = _values(images, name)
    return None if values is None else float(np.mean(values))


def _mean_curve(images: Sequence[ImageMeasures], name: str) -> tuple[float, ...] | None:
    values = _values(images, name)
    return None if values is None else tuple(np.mean(values, axis=0).tolist())


def _values(images: Sequence[ImageMeasures], name: str) -> np.ndarray | None:
    """Values of all images, [N] or [N, 256], float64; None if no image has any."""
    values = [getattr(image, name) for image in images]
    known = [value for value in values if value is not None]
    if known and len(known) < len(values):
        raise ValueError(f"{len(known)} of {len(values)} images have {name}; all or none are needed")
    return np.array(known, dtype=np.float64) if known else None
