"""What a model answers for an image, and the protocol that every model of ours fulfils; numpy only.

`model/saliency.py` loads the real one, `model/fake.py` stands in for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8


class ModelOutputError(Exception):
    """The networks gave members that are no saliency maps: NaN, or outside [0, 1]."""


class ModelMemoryError(Exception):
    """The device has not enough memory for even one ensemble member of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The ensemble's answer for one image of H x W pixels; float32 arrays."""

    saliency: Float[np.ndarray, "h w"]
    """What the members say together at the image's own size, in [0, 1]."""
    variance: Float[np.ndarray, "h w"]
    """Population variance over the members at the image's own size, in [0, 0.25], times `variance_scale`."""
    uncertainty: Float[np.ndarray, "ph pw"]
    """How far the members lie from the map at processing resolution, in units of saliency: their standard deviation
    from the mean, or median absolute deviation from the median."""
    members: Float[np.ndarray, "e ph pw"]
    """The members at processing resolution, in [0, 1], neither aligned nor stretched."""
    variance_scale: float = 1.0
    """Where an image stopped before it had all members, what makes the variance over those it has comparable with the
    variance over all: see `model.rounds.variance_scale`."""
    fewer_at_once: int = 0
    """So many members at once, fewer than were asked for, passed through the networks, since memory had run out: that
    moves the last bits. 0 if it had not."""


Enough = Callable[[Float[np.ndarray, "_e _ph _pw"]], bool]
"""Are these members of an image, as in `Prediction`, enough? It may look at nothing else."""


@runtime_checkable
class SaliencyModel(Protocol):
    """Predicts batches of images; equal arguments give equal answers on one kind of device."""

    @property
    def device_kind(self) -> str:
        """`cpu` or `cuda`, and what else moves the last bits of its maps."""

    def predict(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], keys: Sequence[str]) -> list[Prediction]:
        """One prediction per RGB image (0 to 255), in order; a key decides the noise of its image's members.

        Raises: ModelOutputError: the answer for at least one of the images is no prediction.
                ModelMemoryError: the device is too small for one of them.
        """
