"""How much memory a replica uses, and how busy its model is."""

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from model.prediction import Prediction, SaliencyModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaUsage:
    """What one replica has used since its model was loaded."""

    peak_rss_bytes: int
    """The most memory that its process has held, including while the model was loaded."""
    predicting_s: float
    """Seconds that the model has worked."""
    loaded_s: float
    """Seconds since the model was loaded."""
    batch_images: int = 0
    """Images in the last batch at the model."""


def in_words(usage: Sequence[ReplicaUsage]) -> str:
    """A log line about one replica or more."""
    busy = sum(found.predicting_s for found in usage) / sum(found.loaded_s for found in usage)
    peak_gb = max(found.peak_rss_bytes for found in usage) / 1e9
    return f"peak memory of a replica: {peak_gb:.2f} GB; models worked {busy:.0%} of the time since they were loaded"


class Stopwatch:
    """Counts how long a replica has worked since it was made, which is when its model was loaded."""

    def __init__(self) -> None:
        self._loaded = time.perf_counter()
        self._working_s = 0.0
        self._batch_images = 0

    @contextmanager
    def working(self, images: int = 0) -> Iterator[None]:
        """Count the time that the block takes. Args: images: that it works on."""
        began = time.perf_counter()
        self._batch_images = images
        try:
            yield
        finally:
            self._working_s += time.perf_counter() - began

    def usage(self) -> ReplicaUsage:
        """What this replica has used so far."""
        return ReplicaUsage(
            peak_rss_bytes=peak_rss_bytes(),
            predicting_s=self._working_s,
            loaded_s=time.perf_counter() - self._loaded,
            batch_images=self._batch_images,
        )


class TimedModel:
    """A model that counts how long it has worked; fulfils `SaliencyModel`."""

    def __init__(self, model: SaliencyModel) -> None:
        self._model, self._watch = model, Stopwatch()

    @property
    def device_kind(self) -> str:
        """The model's kind of device."""
        return self._model.device_kind

    def predict(self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], keys: Sequence[str]) -> list[Prediction]:
        """Predict with the model, and count the time."""
        with self._watch.working(len(images)):
            return self._model.predict(images, keys)

    def usage(self) -> ReplicaUsage:
        """What this replica has used so far."""
        return self._watch.usage()


def peak_rss_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def peak_device_bytes() -> int:
    """The most memory that this process has held on its GPU; 0 if it uses none."""
    torch = sys.modules.get("torch")  # never loaded for this
    try:
        return int(torch.cuda.max_memory_allocated()) if torch and torch.cuda.is_initialized() else 0
    except AttributeError:  # another thread is just importing it: a replica is asked while it loads its model
        return 0
