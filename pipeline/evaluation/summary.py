"""The measures of many images → the figures of a dataset; to the last bit those of pysodmetrics in one process."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.measures import ImageMeasures


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Means over the images of a dataset; None where a measure was not asked for.

    `max_` and `mean_` are over the thresholds of the mean curve of all images: one threshold for the whole dataset, not
    the best one of each image.
    """

    images: int
    empty_truths: int
    """Images of whose mask nothing is salient; they count like the others, by the rules in `measures.py`."""
    constant_maps: int
    mae: float | None
    s_measure: float | None
    weighted_f: float | None
    max_f: float | None
    mean_f: float | None
    adaptive_f: float | None
    max_e: float | None
    mean_e: float | None
    adaptive_e: float | None
    iou: float | None
    f_curve: tuple[float, ...] | None
    """This and the next three: 256 values, over the thresholds 255, 254, …, 0 of 255."""
    e_curve: tuple[float, ...] | None
    precision: tuple[float, ...] | None
    recall: tuple[float, ...] | None


SCALARS = ("mae", "s_measure", "weighted_f", "max_f", "mean_f", "adaptive_f", "max_e", "mean_e", "adaptive_e", "iou")
CURVES = ("precision", "recall", "f_curve", "e_curve")


def summarise(images: Sequence[ImageMeasures]) -> Summary:
    """Average the measures; the order of the images decides the last bit, so give them in the order of their names.

    Raises: ValueError: there are none, or not all have the same measures.
    """
    if not images:
        raise ValueError("no image was measured, so there is nothing to average")
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
        adaptive_f=_mean(images, "adaptive_f"),
        max_e=max(e) if e else None,
        mean_e=float(np.mean(e)) if e else None,
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
    """[N] or [N, 256], float64; None if no image has it."""
    values = [getattr(image, name) for image in images]
    there = [value for value in values if value is not None]
    if there and len(there) < len(values):
        raise ValueError(f"{len(there)} of {len(values)} images have {name}; all or none are needed")
    return np.array(there, dtype=np.float64) if there else None
