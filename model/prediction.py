"""The protocol of saliency models, what they return for an image, and their errors; numpy only.

`model/saliency.py` loads the real model; `model/fake.py` stands in for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

_VALUES_AT_ONCE = 1 << 20
"""Values of members, in about so many of which the variance is measured at once."""


class ModelOutputError(Exception):
    """The networks gave members that are not saliency maps: they hold NaN or values outside [0, 1]."""


class ModelMemoryError(Exception):
    """The device's memory is too small even for one ensemble member of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The ensemble's result for one image of H x W pixels; float32 arrays."""

    saliency: Float[np.ndarray, "h w"]
    """Joint map of the members at the image's own size, in [0, 1]."""
    variance: Float[np.ndarray, "h w"]
    """Population variance over the members at the image's own size, in [0, 0.25], times `variance_scale`."""
    uncertainty: Float[np.ndarray, "ph pw"]
    """Spread of the members around the map at processing resolution, in units of saliency: their standard deviation
    from the mean, or median absolute deviation from the median."""
    members: Float[np.ndarray, "e ph pw"]
    """The members at processing resolution, in [0, 1], neither aligned nor stretched."""
    variance_scale: float = 1.0
    """Factor that makes the variance comparable with that of a whole ensemble if the image stopped early: see
    `model.rounds.variance_scale`."""
    fewer_at_once: int = 0
    """Members per pass after running out of memory, which changes the last bits; 0 if it never did."""


def ensemble_variance(members: Float[np.ndarray, "e h w"], variance_scale: float = 1.0) -> float:
    """Population variance over the members, averaged over the pixels; in [0, 0.25].

    Args: variance_scale: see `Prediction`.
    """
    flat = members.reshape(len(members), -1)
    # In parts, since numpy makes float64 of all that it is given: of 100 members of 384 x 384 px, 118 MB.
    parts = np.array_split(flat, max(1, flat.size // _VALUES_AT_ONCE), axis=1)
    variances = np.concatenate([part.var(axis=0, dtype=np.float64) for part in parts])
    return min(0.25, float(variances.mean()) * variance_scale)


Enough = Callable[[Float[np.ndarray, "_e _ph _pw"]], bool]
"""Decides whether an image's members (as in `Prediction`) are enough; it may depend on nothing else."""


@runtime_checkable
class SaliencyModel(Protocol):
    """Predicts batches of images; equal arguments give equal results on one kind of device."""

    @property
    def device_kind(self) -> str:
        """`cpu` or `cuda`, plus whatever else changes the last bits of the maps."""

    def predict(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], keys: Sequence[str]) -> list[Prediction]:
        """Return one prediction per RGB image (0 to 255), in order; a key determines its image's noise.

        Raises: ModelOutputError: the result for at least one of the images is not a prediction.
                ModelMemoryError: one of the images needs more memory than the device has.
        """


@runtime_checkable
class ShowsSteps(Protocol):
    """A model that shows how far it is within a batch."""

    step_bar: Any
    """Its `update()` is called after each denoising step; None if nobody watches."""
