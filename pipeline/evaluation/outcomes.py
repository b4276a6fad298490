"""Measure one pair of map and mask, or say why it failed: an unusable file costs only its own image."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from model.config import MAX_IMAGE_PIXELS
from pipeline.errors import SampleError
from pipeline.evaluation.grey import read_prediction
from pipeline.evaluation.measures import ALL_METRICS, ImageMeasures, Metric, measure, worst
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.sources import label_of
from pipeline.evaluation.truth import read_truth

Unusable = Literal["fails", "is worst"]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Settings for measuring maps."""

    normalize: bool = True
    metrics: tuple[Metric, ...] = ALL_METRICS
    max_pixels: int = MAX_IMAGE_PIXELS
    """Maps and masks of more pixels fail."""
    plain_grey: bool = False
    """Maps with colours or transparent pixels fail."""
    unusable: Unusable = "fails"
    """What becomes of an image whose map is missing or unusable: `is worst` gives it the worst value of each metric."""
    counts_parts: bool = False
    """Count the parts of each mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An image that was measured."""

    name: str
    measures: ImageMeasures
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """The pipeline's scores of its own map, and those of the run's passes; empty for maps from elsewhere."""
    resized: bool = False
    """The map had another size than the mask."""
    truth_sha256: str = ""
    """SHA-256 of the mask as read, not of its file: re-packaging a dataset without changing a pixel keeps it."""
    unusable: str = ""
    """Why there was no map to measure, so that the image has the worst value of each metric."""
    parts: int | None = None
    """Parts of the mask that touch nowhere, not even at corners; None if they were not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An image that could not be measured, and why."""

    name: str
    reason: str


Outcome = Measured | Failed


def measure_files(pair: Pair, how: How) -> Outcome:
    """Measure a map on disk. If its size differs from the mask's, resize it, as the field's toolkits do."""
    try:
        truth = read_truth(pair.mask, how.max_pixels)
        try:
            if pair.source is None:
                raise SampleError("missing", f"there is no map of {pair.name}")
            prediction = read_prediction(pair.source, how.max_pixels, plain=how.plain_grey)
        except SampleError as error:
            if how.unusable == "is worst":
                return _outcome(pair, worst(truth, metrics=how.metrics), truth, how, unusable=str(error))
            raise
        return _measured(pair, fitted(prediction, truth.shape), truth, how, resized=prediction.shape != truth.shape)
    except SampleError as error:
        return Failed(name=pair.name, reason=str(error))


def measure_map(
    pair: Pair, prediction: UInt8[np.ndarray, "h w"], scores: Mapping[str, float | None], how: How
) -> Outcome:
    """Measure a map of the photo's own size; a mask of another size belongs to another photo."""
    try:
        truth = read_truth(pair.mask, how.max_pixels)
        if prediction.shape != truth.shape:
            photo, mask = (f"{px[1]} x {px[0]} px" for px in (prediction.shape, truth.shape))
            sizes = f"photo {label_of(pair.photo)} has {photo}, mask {label_of(pair.mask)} {mask}"
            raise SampleError("size_mismatch", sizes)
        return _measured(pair, prediction, truth, how, scores=scores)
    except SampleError as error:
        return Failed(name=pair.name, reason=str(error))


def fitted(prediction: UInt8[np.ndarray, "h w"], height_width: tuple[int, ...]) -> UInt8[np.ndarray, "h2 w2"]:
    """Resize a map to the size of a mask: bilinear, without smoothing, rounded to 8 bits.

    Source: `cv2.resize(…, interpolation=cv2.INTER_LINEAR)` of PySODEvalToolkit and of the examples of pysodmetrics.
    """
    if prediction.shape == height_width:
        return prediction
    return np.asarray(cv2.resize(prediction, dsize=height_width[::-1], interpolation=cv2.INTER_LINEAR))


def _measured(
    pair: Pair,
    prediction: UInt8[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "h w"],
    how: How,
    **found: object,
) -> Measured:
    if truth.size < 2:
        raise SampleError("size_mismatch", f"{label_of(pair.mask)} has one pixel; at least two are needed")
    measures = measure(prediction, truth, normalize=how.normalize, metrics=how.metrics)
    return _outcome(pair, measures, truth, how, **found)


def _outcome(
    pair: Pair, measures: ImageMeasures, truth: Bool[np.ndarray, "h w"], how: How, **found: object
) -> Measured:
    digest = hashlib.sha256(repr(truth.shape).encode() + np.packbits(truth).tobytes()).hexdigest()
    parts = cv2.connectedComponents(truth.view(np.uint8), connectivity=8)[0] - 1 if how.counts_parts else None
    return Measured(name=pair.name, measures=measures, truth_sha256=digest, parts=parts, **found)  # type: ignore[arg-type]
