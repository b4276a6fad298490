"""What the measures of one image have in common: values, errors, and how many pixels of object and background have each
level. Computed once, where the library computes it anew for each metric.

Everything equals what the library computes to the last bit: sums of numbers are taken over the same arrays in the same
order, and numbers of pixels are exact anyway.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

_LEVELS = np.arange(256) / 255
Counts = Int[np.ndarray, "256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholded:
    """Pixels of a thresholded map; numbers, or arrays with a number for each threshold."""

    tp: Counts | int
    fp: Counts | int
    tn: Counts | int
    fn: Counts | int


class Counted:
    """A map and its mask of the same size, looked at once for all measures."""

    def __init__(
        self, prediction: UInt8[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"], *, normalize: bool
    ) -> None:
        self.truth = truth
        self.of_object = np.bincount(prediction[truth], minlength=256)
        """Level of the map → pixels of the object that have it."""
        self.of_background = np.bincount(prediction[~truth], minlength=256)
        present = np.flatnonzero(self.of_object + self.of_background)
        self.is_constant = len(present) == 1
        self._value_of = _LEVELS  # those of the library's `prepare_data`
        if normalize and not self.is_constant:
            lowest, highest = _LEVELS[present[0]], _LEVELS[present[-1]]
            self._value_of = ((_LEVELS - lowest) / (highest - lowest)).clip(0, 1)
        self.values: Float[np.ndarray, "h w"] = self._value_of[prediction]
        """In [0, 1]."""
        self.object_px, self.pixels = int(np.count_nonzero(truth)), int(truth.size)

    @cached_property
    def errors(self) -> Float[np.ndarray, "h w"]:
        """How far the map is from the mask, in [0, 1]."""
        difference: Float[np.ndarray, "h w"] = np.abs(self.values - self.truth)
        return difference

    @cached_property
    def in_object(self) -> Float[np.ndarray, " n"]:
        """The map's values where the object is, row by row."""
        return np.asarray(self.values[self.truth])

    @cached_property
    def in_background(self) -> Float[np.ndarray, " n"]:
        """The map's values elsewhere, row by row; they are its errors there."""
        return np.asarray(self.values[~self.truth])

    @cached_property
    def at_thresholds(self) -> Thresholded:
        """Numbers of pixels at the thresholds 255, 254, …, 0 of 255."""
        level_of = (self._value_of * 255).astype(np.uint8)
        cumulated = []
        for counts in (self.of_object, self.of_background):
            histogram = np.bincount(level_of, weights=counts, minlength=256).astype(np.int64)
            cumulated.append(np.cumsum(np.flip(histogram)))
        tp, fp = cumulated
        return Thresholded(tp=tp, fp=fp, tn=self.pixels - self.object_px - fp, fn=self.object_px - tp)

    @cached_property
    def at_adaptive_threshold(self) -> Thresholded:
        """Numbers of pixels at twice the map's mean, but at most 1."""
        return self._where(self._value_of >= min(2 * self.values.mean(), 1))

    @cached_property
    def above_half(self) -> Thresholded:
        """Numbers of pixels where the map is above 0.5."""
        return self._where(self._value_of > 0.5)

    def _where(self, found: Bool[np.ndarray, "256"]) -> Thresholded:
        tp, fp = int(self.of_object[found].sum()), int(self.of_background[found].sum())
        return Thresholded(tp=tp, fp=fp, tn=self.pixels - self.object_px - fp, fn=self.object_px - tp)
