"""The state of a session, from the events of its work. Pure but for what it remembers; one thread at a time.

Memory is bounded, however long the work takes: living replicas, the newest lost ones and incidents, counts of the rest.
"""

from collections import Counter, deque
from collections.abc import Callable
from itertools import islice

from pipeline.progress.pace import Pace
from pipeline.replicas import events
from pipeline.replicas.events import Event
from pipeline.watching.replicas import ReplicaCounts
from pipeline.watching.summary import Incident, NodeState, NodeSummary, Summary
from pipeline.watching.timeline import Axis, Series
from pipeline.watching.words import clean, incident

MOST_ENDED, MOST_GONE_NODES, MOST_BLAMED, MOST_REASONS = 64, 64, 20, 100
MOST_GRAVE, MOST_OTHER = 40, 20
"""Incidents: a hundred replicas that get ready push out none that tells of trouble."""
LATELY_S = 60.0


class State:
    """Folds events; `summary` says what they come to.

    Args:
        at_s: now, in seconds since 1970; events carry their own times.
        on_incident: called with what people may have to know of, as it happens.
    """

    def __init__(self, at_s: float, on_incident: Callable[[Incident], None] = lambda _: None) -> None:
        self._began_s = self._now_s = at_s
        self._on_incident = on_incident
        self._axis = Axis(at_s)
        self._finished = Series(self._axis)
        self._pace = self._new_pace(None)
        self._images = self._earlier = self._shards = self._shards_done = self._committed = 0
        self._outcomes, self._failures = Counter[str](), Counter[str]()
        self._deaths, self._retries = Counter[str](), Counter[str]()
        self._replicas: dict[str, ReplicaCounts] = {}
        self._ended = deque[ReplicaCounts]()
        self._forgotten = self._past_storage_errors = self._blamed_images = self._in_flight = 0
        self._nodes: dict[str, tuple[NodeState, str]] = {}
        self._node_deaths = Counter[str]()
        self._blamed = deque[str](maxlen=MOST_BLAMED)
        self._grave, self._other = deque[Incident](maxlen=MOST_GRAVE), deque[Incident](maxlen=MOST_OTHER)
        self._ended_s: float | None = None
        self._reason = ""

    def __call__(self, event: Event) -> None:
        """Take an event into account; quick."""
        self._now_s = max(self._now_s, event.at_s)
        match event:
            case events.Pulses():
                self._on_pulses(event)
            case events.ShardBegun():
                self._replica(event.replica).begin(event.shard, self._now_s)
            case events.ShardCommitted():
                self._on_committed(event)
            case events.ShardReturned():
                self._on_returned(event)
            case events.ReplicaAsked():
                self._replica(event.replica)
            case events.ReplicaPlaced():
                self._replica(event.replica).place(event.node, event.pid, self._now_s)
                self._nodes.setdefault(event.node, ("there", ""))
            case events.ReplicaReady():
                replica = self._replica(event.replica)
                replica.device = event.device
                replica.settle(self._now_s)
            case events.ReplicaEnded():
                self._on_ended(event)
            case events.ImageBlamed():
                self._blamed_images += 1
                self._blamed.append(clean(event.key))
            case events.WorkBegan():
                self._images, self._earlier, self._shards = event.images, event.settled, event.shards
                self._pace = self._new_pace(event.images, event.settled)
            case events.WorkEnded():
                self._ended_s, self._reason = self._now_s, clean(event.reason)
            case events.NodeJoined() | events.NodeDraining() | events.NodeLeft() | events.NodeSetAside():
                self._on_node(event)
        self._note(event)

    def summary(self, at_s: float | None = None) -> Summary:
        """What is known. Args: at_s: now; None: the time of the newest event."""
        if self._ended_s is None:
            self._now_s = max(self._now_s, at_s or 0.0)
        self._axis.reach(self._now_s)
        living = [replica for replica in self._replicas.values() if replica.state != "ended"]
        shown = [*living, *reversed(self._ended)]
        return Summary(
            began_s=self._began_s,
            at_s=self._now_s,
            ended_s=self._ended_s,
            reason=self._reason,
            images=self._images,
            earlier=self._earlier,
            committed=self._committed,
            in_flight=self._in_flight,
            shards=self._shards,
            shards_done=self._shards_done,
            shards_in_work=sum(len(replica.shards) for replica in living),
            outcomes=dict(self._outcomes),
            failures=dict(self._failures.most_common(MOST_REASONS)),
            deaths=dict(self._deaths),
            retries=dict(self._retries),
            blamed=tuple(self._blamed),
            blamed_images=self._blamed_images,
            storage_errors=self._past_storage_errors + sum(replica.pulse.storage_errors for replica in living),
            storage_away_s=max((replica.pulse.storage_away_s for replica in living), default=0.0),
            per_s=self._per_s(),
            left_s=self._pace.left_s() if self._ended_s is None else None,
            replicas=tuple(replica.summary(self._now_s) for replica in shown),
            forgotten_replicas=self._forgotten,
            nodes=self._node_summaries(living),
            incidents=tuple(sorted((*self._other, *self._grave), key=lambda one: one.at_s)),
            bin_s=self._axis.width_s,
            finished=self._finished.amounts(),
        )

    def _new_pace(self, total: float | None, done: float = 0.0) -> Pace:
        return Pace(total, done, lambda: self._now_s)

    def _replica(self, name: str) -> ReplicaCounts:
        """The replica of that name; one of which nothing was said before has just been asked for."""
        found = self._replicas.get(name)
        if found is None:
            found = ReplicaCounts(name, self._now_s, self._axis, self._new_pace(None))
            self._replicas[name] = found
        return found

    def _count(self, replica: ReplicaCounts, images: int) -> None:
        before = replica.in_flight
        began_s = replica.took_since(self._now_s)
        if gained := replica.finish(images, self._now_s):
            self._finished.add(began_s, self._now_s, gained)
        self._in_flight += replica.in_flight - before

    def _reach(self) -> None:
        self._pace.reach(min(self._images or float("inf"), self._earlier + self._committed + self._in_flight))

    def _on_pulses(self, event: events.Pulses) -> None:
        for name, pulse in event.pulses.items():
            replica = self._replicas.get(name)
            if replica is None or replica.state == "ended":
                continue
            replica.answered = pulse is not None
            if pulse is not None:
                replica.pulse = pulse
                self._count(replica, pulse.images)
        self._reach()

    def _on_committed(self, event: events.ShardCommitted) -> None:
        replica = self._replica(event.replica)
        before = replica.in_flight
        replica.collected += event.computed
        self._in_flight += replica.in_flight - before
        self._count(replica, max(replica.seen, replica.collected))
        self._committed += sum(event.outcomes.values())
        self._shards_done += 1
        self._outcomes.update(event.outcomes)
        self._failures.update(event.failures)
        if replica.shards.pop(event.shard, 0) is None:
            replica.settle(self._now_s)
        self._reach()

    def _on_returned(self, event: events.ShardReturned) -> None:
        replica = self._replicas.get(event.replica)
        if replica is None:
            return
        replica.shards.pop(event.shard, None)
        if replica.state == "ended":
            self._retries[replica.cause] += 1
        else:
            replica.returned += 1

    def _on_ended(self, event: events.ReplicaEnded) -> None:
        replica = self._replica(event.replica)
        if replica.state == "ended":
            return
        self._in_flight -= replica.in_flight
        self._past_storage_errors += replica.pulse.storage_errors
        self._retries += Counter({event.cause: replica.returned})
        replica.become("ended", self._now_s)
        replica.cause, replica.said = event.cause, clean(event.said)
        self._deaths[event.cause] += 1
        if replica.node and event.cause != "surplus":
            self._node_deaths[replica.node] += 1
        if event.cause == "surplus" and not replica.seen:  # it only waited for a place: nothing of it is worth one here
            del self._replicas[replica.name]
        else:
            self._ended.append(replica)
        if len(self._ended) > MOST_ENDED:
            self._replicas.pop(self._ended.popleft().name, None)
            self._forgotten += 1
        self._reach()

    def _on_node(self, event: events.NodeJoined | events.NodeDraining | events.NodeLeft | events.NodeSetAside) -> None:
        known, reason = self._nodes.pop(event.node, ("there", ""))
        match event:
            case events.NodeJoined():
                known, reason = "there", ""
            case events.NodeDraining():
                known = "draining"
            case events.NodeLeft():
                known = "left"
            case events.NodeSetAside():
                known, reason = "set aside", clean(event.reason)
        self._nodes[event.node] = (known, reason)
        gone = [name for name, (state, _) in self._nodes.items() if state == "left"]
        for name in islice(gone, max(0, len(gone) - MOST_GONE_NODES)):
            del self._nodes[name], self._node_deaths[name]

    def _node_summaries(self, living: list[ReplicaCounts]) -> tuple[NodeSummary, ...]:
        replicas = Counter(replica.node for replica in living)
        return tuple(
            NodeSummary(name=name, state=state, reason=reason, replicas=replicas[name], deaths=self._node_deaths[name])
            for name, (state, reason) in self._nodes.items()
        )

    def _note(self, event: Event) -> None:
        replica = self._replicas.get(getattr(event, "replica", ""))
        if found := incident(event, replica.node if replica else ""):
            (self._grave if found.grave else self._other).append(found)
            self._on_incident(found)

    def _per_s(self) -> float:
        """Images per second in the last minute, or in the last two bins if they are wider."""
        since_s = (self._ended_s or self._now_s) - self._began_s
        width_s = self._axis.width_s
        bins, last = max(2, round(LATELY_S / width_s)), int(since_s / width_s)
        seconds = min(since_s, (bins - 1) * width_s + since_s % width_s)
        amounts = self._finished.amounts()[max(0, last - bins + 1) : last + 1]
        return sum(amounts) / seconds if seconds > 0 else 0.0
