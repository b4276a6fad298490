"""What is known of a session at one moment: immutable, so that any thread may read it while the work goes on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pipeline.replicas.events import Pulse

FORMAT = 1
ReplicaState = Literal["asked", "loading", "idle", "working", "ended"]
"""Asked for a place; proving and loading the model; without a shard; with one; no more."""
STATES: tuple[ReplicaState, ...] = ("asked", "loading", "idle", "working")
NodeState = Literal["there", "draining", "left", "set aside"]
Amounts = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSummary:
    """One replica, as it is or was."""

    name: str
    node: str
    """"" while it has no place."""
    pid: int
    device: str
    state: ReplicaState
    shards: tuple[str, ...]
    """In hand."""
    images: int
    """Finished, committed or not."""
    per_s: float | None
    """Images per second lately."""
    pulse: Pulse
    answered: bool
    """Did it answer when it was last asked?"""
    working_share: float | None
    """Share of the time since it was ready in which its model worked, 0 to 1."""
    waiting_share: float | None
    """... in which its model waited for images."""
    began_s: float
    ended_s: float | None
    cause: str
    """Why it is no more; "" while it lives."""
    said: str
    seconds: Mapping[str, Amounts]
    """State → seconds in it, by bin of the timeline."""
    finished: Amounts
    """Images finished, by bin of the timeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSummary:
    """One node, as it is or was."""

    name: str
    state: NodeState
    reason: str
    """Why it was set aside."""
    replicas: int
    """Replicas on it now."""
    deaths: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that people may have to know of."""

    at_s: float
    kind: str
    """The event's class, in snake case."""
    grave: bool
    """Does it cost work, or a node?"""
    words: str
    """One line, without control characters or secrets."""
    values: Mapping[str, Any]
    """The event's fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A session at one moment. Times are seconds since 1970."""

    began_s: float
    at_s: float
    ended_s: float | None
    reason: str
    """Why it ended before all was done; "" otherwise."""
    images: int
    """Of the run."""
    earlier: int
    """Images that earlier sessions committed."""
    committed: int
    """Images that this session committed."""
    in_flight: int
    """Images that replicas have finished in shards that are not committed."""
    shards: int
    """Left to do when the session began."""
    shards_done: int
    shards_in_work: int
    outcomes: Mapping[str, int]
    failures: Mapping[str, int]
    """Failed images by reason."""
    deaths: Mapping[str, int]
    """Replicas that are no more, by cause."""
    retries: Mapping[str, int]
    """Shards that came back to the queue, by the cause of it."""
    blamed: tuple[str, ...]
    """Keys of the newest images that are skipped because they killed their process."""
    blamed_images: int
    storage_errors: int
    storage_away_s: float
    per_s: float
    """Images per second lately."""
    left_s: float | None
    """Seconds until all is done, if that can be told."""
    replicas: tuple[ReplicaSummary, ...]
    """Those that live, then the newest that are no more."""
    forgotten_replicas: int
    """Earlier ones, of which only counts are left."""
    nodes: tuple[NodeSummary, ...]
    incidents: tuple[Incident, ...]
    """The newest, oldest first."""
    bin_s: float
    """Width of a bin of the timeline, which begins with the session."""
    finished: Amounts
    """Images finished, by bin."""

    @property
    def settled(self) -> int:
        """Images in committed shards, those of earlier sessions included."""
        return self.earlier + self.committed

    @property
    def shards_waiting(self) -> int:
        """Shards that no replica has in hand."""
        return max(0, self.shards - self.shards_done - self.shards_in_work)

    @property
    def living(self) -> tuple[ReplicaSummary, ...]:
        """The replicas that are not ended."""
        return tuple(replica for replica in self.replicas if replica.state != "ended")

    @property
    def mean_per_s(self) -> float:
        """Images finished per second since the session began, loading included."""
        seconds = (self.ended_s or self.at_s) - self.began_s
        return sum(self.finished) / seconds if seconds > 0 else 0.0


def document(summary: Summary) -> dict[str, Any]:
    """A summary for programs; without what only a picture shows."""
    left_out = ("replicas", "bin_s", "finished")
    values = {f.name: getattr(summary, f.name) for f in fields(Summary) if f.name not in left_out}
    values |= {name: dict(values[name]) for name in ("outcomes", "failures", "deaths", "retries")}
    values["nodes"] = [asdict(node) for node in summary.nodes]
    values["incidents"] = [
        {**{f.name: getattr(one, f.name) for f in fields(Incident)}, "values": dict(one.values)}
        for one in summary.incidents
    ]
    values["replicas"] = [_replica(replica) for replica in summary.replicas]
    derived = {name: getattr(summary, name) for name in ("settled", "shards_waiting", "mean_per_s")}
    return {"format": FORMAT, **values, **derived}


def _replica(replica: ReplicaSummary) -> dict[str, Any]:
    left_out = ("seconds", "finished", "pulse")
    values = {f.name: getattr(replica, f.name) for f in fields(ReplicaSummary) if f.name not in left_out}
    return {**values, "pulse": asdict(replica.pulse)}
