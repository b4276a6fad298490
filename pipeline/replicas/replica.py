"""One model on one device, as a cluster's process holds it: `cluster.py` calls it from afar."""

import threading

from pipeline.records import ShardSpec
from pipeline.replicas.setup import Loaded, Setup
from pipeline.replicas.shards import ShardResult, Shared
from pipeline.replicas.suspects import Caution
from pipeline.replicas.usage import ReplicaUsage


class Replica:
    """Reads one shard while another is at the model."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._loaded: Loaded | None = None
        self._loading = threading.Lock()
        self._shared = Shared(on_image=self._count)
        self._counting = threading.Lock()
        self._finished = 0

    def process(self, spec: ShardSpec, caution: Caution) -> ShardResult:
        """Carry out and commit one shard."""
        # Not in __init__: what is raised there reaches the driver as a death, which it would answer with another try.
        with self._loading:
            if self._loaded is None:
                self._loaded = self._setup.load()
        return self._loaded.process(spec, caution, self._shared)

    def finished(self) -> int:
        """Images that this replica has finished; answers while `process` runs."""
        return self._finished

    def usage(self) -> ReplicaUsage | None:
        """Memory and time used; None if it never had anything to do."""
        return self._loaded.usage() if self._loaded else None

    def _count(self, _key: str) -> None:
        with self._counting:
            self._finished += 1
