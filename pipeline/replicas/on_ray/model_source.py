"""The driver's weights for nodes that have them nowhere else: read on its node, sent in chunks by Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StorageUnavailableError
from pipeline.files.model_cache import ReadChunk
from pipeline.replicas.on_ray.authenticated import ray
from pipeline.replicas.setup import Setup
from pipeline.replicas.weights import read_from

_AT_ONCE = 8
"""Chunks that are read at once; with the threads of few nodes, the driver's disk is busy."""


class _Reader:
    """Lives on the driver's node, in a process of its own: the driver has other things to do."""

    def __init__(self, folder: str) -> None:
        self._read = read_from(Path(folder))

    def read(self, name: str, start: int, length: int) -> bytes:
        return self._read(name, start, length)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a replica gets; fulfils `ReadChunk`."""

    reader: Any

    def __call__(self, name: str, start: int, length: int) -> bytes:
        try:
            content: bytes = ray.get(self.reader.read.remote(name, start, length))
            return content
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise StorageUnavailableError(f"the driver's node does not give its weights: {error}") from error


@contextmanager
def model_source(setup: Setup) -> Iterator[ReadChunk | None]:
    """Give out the driver's weights for the block, as `Seat.read_chunk`; None if the work needs none."""
    if setup.weights is None:
        yield None
        return
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=_AT_ONCE, scheduling_strategy=here)(_Reader)
    reader = actor.remote(str(setup.model.folder))
    try:
        yield _Asked(reader)
    finally:
        ray.kill(reader)
