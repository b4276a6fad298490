"""One model on one device, as a cluster's process holds it: `on_ray/fleet.py` calls it from afar."""

import threading

from pipeline.files import patience
from pipeline.records import ShardSpec
from pipeline.replicas.events import Pulse
from pipeline.replicas.pulse import pulse_of
from pipeline.replicas.seat import Seat
from pipeline.replicas.setup import Loaded, Setup
from pipeline.replicas.shards import ShardResult, Shared
from pipeline.replicas.suspects import Caution
from pipeline.replicas.usage import ReplicaUsage


class Replica:
    """Reads one shard while another is at the model."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._loaded: Loaded | None = None
        self._shared = Shared(on_image=self._count)
        self._counting = threading.Lock()
        self._finished = 0

    def prepare(self, seat: Seat) -> str:
        """Prove that this node can do the work, and load the model. Returns: the kind of device that it is on."""
        # Not in __init__: what is raised there reaches the driver as a death, which it would answer with another try.
        patience.begin(self._setup.work.storage_patience_s)
        self._loaded = self._setup.load(seat)
        return self._loaded.device_kind

    def process(self, spec: ShardSpec, caution: Caution) -> ShardResult:
        """Carry out and commit one shard, once it is prepared."""
        assert self._loaded is not None
        return self._loaded.process(spec, caution, self._shared)

    def pulse(self) -> Pulse:
        """How it is; answers while `prepare` and `process` run."""
        return pulse_of(self._finished, self.usage())

    def usage(self) -> ReplicaUsage | None:
        """Memory and time used; None if it never had anything to do."""
        return self._loaded.usage() if self._loaded else None

    def _count(self, _key: str) -> None:
        with self._counting:
            self._finished += 1
