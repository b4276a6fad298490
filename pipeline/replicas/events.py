"""What happens while the shards of a run are worked on, as values. The dispatcher tells them to whoever watches.

A watcher is called by the dispatcher between two of its steps, so it must be quick, and must not raise: what takes time
it does in a thread of its own.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Cause = Literal[
    "process",  # its process ended on a node that lives on: a crash, out of memory, a kill from outside
    "node",  # its node is gone: power, network, or taken away without notice
    "preempted",  # its node was told to drain, or was taken back by its owner
    "unreachable",  # it lives, perhaps, but does not answer; it is ended, lest it work on what others have now
    "stalled",  # it finished no image for too long, and was ended
    "unfit",  # its node can't do the work: see `NodeSetAside`
    "unstarted",  # its process never began: its environment could not be set up, for example
    "surplus",  # it had nothing in hand and is not needed, or is asked for anew on other nodes
]
"""Why a replica is no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened."""

    at_s: float = field(default_factory=time.time)
    """When, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaAsked(Event):
    """The cluster was asked for a replica, and for the autoscaler's help if it has no place."""

    replica: str
    """Such as `r12`; no other replica of this session has the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaPlaced(Event):
    """Its process runs, and begins to prove that it can do the work and to load the model."""

    replica: str
    node: str
    """The node's name, unique among the nodes of the cluster."""
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReady(Event):
    """It has loaded the model and takes shards from now on."""

    replica: str
    device: str
    """As `SaliencyModel.device_kind`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaEnded(Event):
    """It is no more; its shards went back to the queue in the same moment."""

    replica: str
    cause: Cause
    said: str
    """One line, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardBegun(Event):
    """A replica was given a shard."""

    shard: str
    replica: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardCommitted(Event):
    """A shard is done."""

    shard: str
    replica: str
    outcomes: Mapping[str, int]
    """Images by outcome: accepted, rejected and failed; of a score pass: done and failed."""
    failures: Mapping[str, int]
    """Failed images by reason."""
    computed: int
    """Images computed now; the others were kept from an earlier session."""
    seconds: float
    """At the model, and to the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReturned(Event):
    """A shard is back in the queue, for its replica is no more."""

    shard: str
    replica: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBlamed(Event):
    """An image killed its process again; it is skipped from now on, and recorded as failed."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeJoined(Event):
    """A node is there that was not."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDraining(Event):
    """A node will be taken away; its replicas get no further shards."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLeft(Event):
    """A node is gone."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSetAside(Event):
    """A node gets no replica any more."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What a replica answers when it is asked how it is. All counts are since it was placed."""

    images: int = 0
    """Finished."""
    predicting_s: float = 0.0
    """That the model has worked."""
    waiting_s: float = 0.0
    """That the model has waited for images, since it was loaded."""
    storage_errors: int = 0
    """Failed calls of a storage, whether they were tried again or not."""
    storage_away_s: float = 0.0
    """For how long a storage has not responded up to now; 0: it responds."""
    rss_bytes: int = 0
    """The most memory that its process has held."""
    device_bytes: int = 0
    """The most memory that it has held on its GPU; 0 on a CPU."""
    batch_images: int = 0
    """Images in the last batch at the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulses(Event):
    """The replicas' answers at a look, every few seconds."""

    pulses: Mapping[str, Pulse | None]
    """Replica → its last answer; None: it has not answered yet."""
    waiting: int
    """Shards that no replica has in hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkBegan(Event):
    """Shards are about to be handed out."""

    images: int
    """Of the whole run."""
    settled: int
    """Images that earlier sessions have committed."""
    shards: int
    """Left to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkEnded(Event):
    """No shard is handed out any more: all are done, or the session ends."""

    reason: str
    """"" if all shards are done; otherwise why the session ends."""


Watch = Callable[[Event], None]
