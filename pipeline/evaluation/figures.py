"""What the figures of a dataset are made of, image by image, so that they can be computed for any weights. Pure.

With equal weights they are those of `summary.py`, up to the last bits; resampled images and exchanged models are
nothing but other weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.evaluation.measures import ImageMeasures

MEANS = {
    "mae": "mae",
    "s_measure": "s_measure",
    "weighted_f": "weighted_f",
    "adaptive_f": "adaptive_f",
    "mean_of_max_f": "max_f",
    "adaptive_e": "adaptive_e",
    "mean_of_max_e": "max_e",
    "iou": "iou",
}
"""Figure → the measure of an image whose mean it is."""
OF_CURVES = {"f_curve": ("max_f", "mean_f"), "e_curve": ("max_e", "mean_e")}
"""Curve of an image → maximum and mean of the mean curve."""

_Weights = Float[np.ndarray, "b n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Measures of N images; those that were not computed are left out."""

    means: Mapping[str, Float[np.ndarray, " n"]]
    """Figure → value of each image."""
    curves: Mapping[str, Float[np.ndarray, "n 256"]]

    @property
    def images(self) -> int:
        """How many."""
        return len(next(iter((*self.means.values(), *self.curves.values())), ()))

    def of(self, places: Sequence[int]) -> "Parts":
        """Those of some of the images."""
        return Parts(
            means={name: values[places] for name, values in self.means.items()},
            curves={name: values[places] for name, values in self.curves.items()},
        )

    def minus(self, other: "Parts") -> "Parts":
        """Differences to the measures of the same images in another evaluation."""
        return Parts(
            means={name: values - other.means[name] for name, values in self.means.items()},
            curves={name: values - other.curves[name] for name, values in self.curves.items()},
        )


def parts_of(images: Sequence[ImageMeasures]) -> Parts:
    """Collect the measures of images that all have the same ones."""

    def stacked(names: Mapping[str, str]) -> dict[str, np.ndarray]:
        return {
            figure: np.array([getattr(image, name) for image in images], dtype=np.float64)
            for figure, name in names.items()
            if images and getattr(images[0], name) is not None
        }

    return Parts(means=stacked(MEANS), curves=stacked({name: name for name in OF_CURVES}))


def figures(parts: Parts, weights: _Weights) -> dict[str, Float[np.ndarray, " b"]]:
    """The figures of a dataset in which image n has the share `weights[b, n]`, for each b."""
    return of_sums(sums(parts, weights))


def sums(parts: Parts, weights: _Weights) -> dict[str, np.ndarray]:
    """Weighted sums: [B] for each mean, [B, 256] for each curve."""
    return {name: weights @ values for name, values in (*parts.means.items(), *parts.curves.items())}


def of_sums(sums: Mapping[str, np.ndarray]) -> dict[str, Float[np.ndarray, " b"]]:
    """The figures that follow from means and mean curves."""
    found = {name: values for name, values in sums.items() if name in MEANS}
    for curve, (highest, mean) in OF_CURVES.items():
        if curve in sums:
            found[highest], found[mean] = sums[curve].max(axis=1), sums[curve].mean(axis=1)
    return found
