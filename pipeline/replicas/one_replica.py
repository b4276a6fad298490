"""Tells the events of work that one process does alone, as the dispatcher tells those of replicas on a cluster."""

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping

from pipeline.records import ShardSpec
from pipeline.replicas.events import (
    Pulses,
    ReplicaAsked,
    ReplicaPlaced,
    ReplicaReady,
    ShardBegun,
    ShardCommitted,
    Watch,
)
from pipeline.replicas.pulse import pulse_of
from pipeline.replicas.setup import Loaded
from pipeline.replicas.shards import ShardResult

LOOK_S = 2.0
"""Seconds between two pulses."""
NAME = "r0"


class OneReplica:
    """This process as a replica: asked for and placed when this is made."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._loaded: Loaded | None = None
        self._images = self._waiting = 0
        self._looked_s = time.monotonic()
        watch(ReplicaAsked(replica=NAME))
        watch(ReplicaPlaced(replica=NAME, node=socket.gethostname(), pid=os.getpid()))

    def ready(self, loaded: Loaded) -> None:
        """It has loaded the model."""
        self._loaded = loaded
        self._watch(ReplicaReady(replica=NAME, device=loaded.device_kind))

    def begun(self, spec: ShardSpec, waiting: int) -> None:
        """It begins a shard. Args: waiting: shards after it."""
        self._waiting = waiting
        self._watch(ShardBegun(shard=spec.name, replica=NAME))

    def finished_an_image(self) -> None:
        """It has finished an image; from time to time, that is told."""
        self._images += 1
        if time.monotonic() - self._looked_s >= LOOK_S:
            self._look()

    def committed(self, result: ShardResult, outcomes: Mapping[str, int]) -> None:
        """It has committed a shard. Args: outcomes: its images by outcome."""
        self._look()
        failures = Counter(row.reason for row in result.rows if row.status == "failed")
        self._watch(
            ShardCommitted(
                shard=result.record.shard,
                replica=NAME,
                outcomes=outcomes,
                failures=failures,
                computed=result.computed,
                seconds=result.seconds,
            )
        )

    def _look(self) -> None:
        assert self._loaded is not None
        self._looked_s = time.monotonic()
        pulse = pulse_of(self._images, self._loaded.usage())
        self._watch(Pulses(pulses={NAME: pulse}, waiting=self._waiting))
