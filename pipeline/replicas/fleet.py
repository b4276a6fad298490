"""What the dispatcher needs of a cluster: it asks for replicas, gives them shards, and is told what happens to them.

`on_ray/fleet.py` has the real one, `benchmarks/simulated_fleet.py` one with a clock of its own. Replicas, nodes and
shards are known by name here, so any history can be written down as a script.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.records import ShardSpec
from pipeline.replicas.events import Cause, Pulse
from pipeline.replicas.shards import ShardResult
from pipeline.replicas.suspects import Caution
from pipeline.replicas.usage import ReplicaUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine of the cluster, or a part of one."""

    name: str
    slots: int
    """Replicas that it has room for when nobody else uses it."""
    free: int
    """Replicas that it has room for now."""
    is_draining: bool = False
    """It will be taken away."""
    is_drivers: bool = False
    """The driver runs there: if it were gone, nobody would ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that a fleet tells of one of its replicas."""

    replica: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed(Happening):
    """Its process runs on a node."""

    node: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Happening):
    """It has loaded the model."""

    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Happening):
    """It has committed a shard."""

    shard: str
    result: ShardResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised(Happening):
    """It raised an error while it made itself ready (`shard` is "") or worked on a shard. It lives, but is no use."""

    shard: str
    error: BaseException
    told: BaseException | None = None
    """The same with the worker's traceback, for an error that has no words of its own; what ends a run."""

    @property
    def said(self) -> str:
        """Class and first line of the error."""
        return f"{type(self.error).__name__}: {self.error}".strip().splitlines()[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Died(Happening):
    """It is gone, with whatever it had in hand."""

    cause: Cause
    said: str
    """One line, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Happening):
    """It answered how it is."""

    pulse: Pulse


class Fleet(Protocol):
    """Replicas on a cluster. No call waits for a replica, but `happenings` and `usage`."""

    @property
    def can_grow(self) -> bool:
        """Might an autoscaler add nodes?"""

    def now_s(self) -> float:
        """Seconds of a clock that never goes back."""

    def nodes(self) -> Sequence[Node]:
        """The nodes that live; their names differ."""

    def start(self, replica: str, avoid: Collection[str]) -> None:
        """Ask for a replica on any node but these. `Placed`, then `Ready` tell what becomes of it."""

    def process(self, replica: str, spec: ShardSpec, caution: Caution) -> None:
        """Give a shard to a replica that is ready."""

    def ask(self, replicas: Iterable[str]) -> None:
        """Ask replicas how they are: `Answered`. One that still owes an answer is not asked again."""

    def end(self, replica: str) -> None:
        """End a replica, wherever it is, if it is not gone by itself; nothing more is told of it."""

    def happenings(self, timeout_s: float) -> list[Happening]:
        """What has happened since the last call; waits so long for the first."""

    def usage(self, replicas: Collection[str]) -> Mapping[str, ReplicaUsage]:
        """What replicas have used, of those that answer within a second."""
