"""What is counted of one replica while it lives."""

from pipeline.progress.pace import Pace
from pipeline.replicas.events import Pulse
from pipeline.watching.summary import STATES, ReplicaState, ReplicaSummary
from pipeline.watching.timeline import Axis, Series

_LONGEST_BATCH_S = 60.0
_TOGETHER_S = 1.0
"""Images that are told of so soon after others took the same time: a shard is often committed just after its replica
has said how far it is, and nobody finishes dozens of images between the two."""


class ReplicaCounts:
    """One replica; `state.py` tells it what happens.

    Args:
        axis: of the session's timeline.
        pace: of its images, by the time of events.
    """

    def __init__(self, name: str, at_s: float, axis: Axis, pace: Pace) -> None:
        self.name, self.node, self.pid, self.device = name, "", 0, ""
        self.state: ReplicaState = "asked"
        self.shards: dict[str, None] = {}
        self.pulse, self.answered = Pulse(), True
        self.cause = self.said = ""
        self.ended_s: float | None = None
        self.returned = 0
        """Shards that went back to the queue before the cause was known."""
        self.seen = self.collected = 0
        """Images that it has finished; those of them that it has committed."""
        self.counted_s = at_s
        """When it last finished an image, or began to work: images that come together took the time since then."""
        self._before_s = at_s
        """Since when those took that were counted then."""
        self._began_s = self._since_s = at_s
        self._ready_s: float | None = None
        self._axis, self._pace = axis, pace
        self._seconds = {state: Series(axis) for state in STATES}
        self._finished = Series(axis)

    @property
    def in_flight(self) -> int:
        """Images that it has finished in shards that are not committed."""
        return 0 if self.state == "ended" else max(0, self.seen - self.collected)

    def become(self, state: ReplicaState, at_s: float) -> None:
        """Note a change of state."""
        if self.state in ("ended", state):
            return
        self._seconds[self.state].add(self._since_s, at_s, at_s - self._since_s)
        if self.state in ("asked", "loading") and state in ("idle", "working"):
            self._ready_s = at_s
        if state == "working":
            self.counted_s = self._before_s = at_s
        self.state, self._since_s = state, at_s
        if state == "ended":
            self.ended_s, self.shards = at_s, {}

    def place(self, node: str, pid: int, at_s: float) -> None:
        """Note where it runs."""
        self.node, self.pid = node, pid
        self.become("loading", at_s)

    def begin(self, shard: str, at_s: float) -> None:
        """Note a shard that it got."""
        if self.state != "ended":
            self.shards[shard] = None
            self.settle(at_s)

    def settle(self, at_s: float) -> None:
        """Be idle or working, as its shards say."""
        self.become("working" if self.shards else "idle", at_s)

    def finish(self, images: int, at_s: float) -> int:
        """Note how many images it has finished since it was placed. Returns: how many more than before."""
        gained = max(0, images - self.seen)
        if gained:
            began_s = self.took_since(at_s)
            self._finished.add(began_s, at_s, gained)
            self.seen = images
            if began_s >= self.counted_s or at_s - self.counted_s >= _TOGETHER_S:
                self._before_s, self.counted_s = began_s, at_s
            self._pace.reach(images)
        return gained

    def took_since(self, at_s: float) -> float:
        """When the work began whose images have come now; after a long silence, nobody knows."""
        is_together = at_s - self.counted_s < _TOGETHER_S
        return max(self._before_s if is_together else self.counted_s, at_s - _LONGEST_BATCH_S)

    def summary(self, at_s: float) -> ReplicaSummary:
        """What is known of it at a moment."""
        if self.state != "ended":  # seconds of a state are counted when it ends, or when somebody looks
            self._seconds[self.state].add(self._since_s, at_s, max(0.0, at_s - self._since_s))
            self._since_s = max(at_s, self._since_s)
        ready_for_s = (self.ended_s or at_s) - self._ready_s if self._ready_s is not None else 0.0
        return ReplicaSummary(
            name=self.name,
            node=self.node,
            pid=self.pid,
            device=self.device,
            state=self.state,
            shards=tuple(self.shards),
            images=self.seen,
            per_s=self._pace.per_s() if self.state == "working" else None,
            pulse=self.pulse,
            answered=self.answered,
            working_share=_share(self.pulse.predicting_s, ready_for_s),
            waiting_share=_share(self.pulse.waiting_s, ready_for_s),
            began_s=self._began_s,
            ended_s=self.ended_s,
            cause=self.cause,
            said=self.said,
            seconds={state: series.amounts() for state, series in self._seconds.items()},
            finished=self._finished.amounts(),
        )


def _share(seconds: float, of_s: float) -> float | None:
    return min(1.0, seconds / of_s) if of_s > 0 else None
