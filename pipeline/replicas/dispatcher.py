"""Hands shards out to replicas until all are committed, whatever becomes of the cluster meanwhile.

Knows no Ray: `Fleet` is all that it has of a cluster. Work waits for nobody. A shard is given only to a replica that
has loaded the model, and returns to the queue in the moment in which its replica is gone, unreachable or ended; whoever
is idle takes it. The number of replicas follows the room on the cluster (`room.py`). A node whose replica can't do the
work is set aside by name, and the run goes on with the others until none is left.

The dispatcher only counts: a replica commits its shards itself, so a driver that dies loses nothing. A shard that was
returned may be committed by both replicas; they commit the same bytes.
"""

import heapq
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from pipeline.config import ClusterConfig
from pipeline.errors import NodeUnfitError, Stopped, StorageUnavailableError
from pipeline.progress.words import amount
from pipeline.records import ShardSpec
from pipeline.replicas import events
from pipeline.replicas.crew import Crew
from pipeline.replicas.events import Cause, Pulse, Watch
from pipeline.replicas.failures import Death, Failures
from pipeline.replicas.fleet import Answered, Died, Done, Fleet, Happening, Placed, Raised, Ready
from pipeline.replicas.hands import Hand, names
from pipeline.replicas.judge import Judge
from pipeline.replicas.nodes import Nodes
from pipeline.replicas.room import Room
from pipeline.replicas.shards import ShardResult
from pipeline.replicas.stalls import StallWatch

log = logging.getLogger(__name__)

WAIT_S = 0.5
"""Longest wait before the stop flag is checked again; `ray job stop` gives three seconds by default."""
LOOK_S = 2.0
"""Time between two looks at the nodes and at what replicas have finished."""
MOST_ASKED = 100
"""Replicas that are asked at a look how they are. A thousand of them take turns of 20 s, and cost the driver as much as
a hundred."""
UNREACHABLE_S = 30.0
"""A ready replica that has not answered for so long is given up."""
HELD_UP_S = 5.0
"""A turn of the dispatcher that took longer waited for storage, or the process was stopped; replicas are asked anew."""
UNREACHABLE_AT_END_S = 10.0
"""The same while another replica is idle and no shard is left for it."""


class Dispatcher:
    """Carries out shards with a fleet.

    Args:
        count: called with each shard that was committed; returns its images by outcome.
        show: called every few seconds with the images finished in shards that are not committed yet, and the images per
              second of each replica.
        collect: reads and removes the journals of shards that lost their replica: shard → the keys that were in work.
        watches: are told everything that happens.
    """

    def __init__(
        self,
        specs: Sequence[ShardSpec],
        fleet: Fleet,
        cluster: ClusterConfig,
        *,
        count: Callable[[ShardResult], Mapping[str, int]],
        show: Callable[[int, Sequence[float]], None],
        collect: Callable[[Sequence[str]], Mapping[str, Sequence[str]]],
        watches: Sequence[Watch] = (),
    ) -> None:
        self._fleet = fleet
        self._look_every_s = min(LOOK_S, cluster.progress_every_s)
        self._count, self._show, self._collect = count, show, collect
        self._failures = Failures(shard_attempts=cluster.shard_attempts)
        self._nodes = Nodes()
        self._crew = Crew(specs, fleet, self._failures.caution, self._nodes.is_well, watches)
        self._room = Room(fleet, cluster, self._crew, self._nodes)
        self._judge = Judge(self._failures, self._crew, self._nodes, self._room)
        self._left = len(specs)
        self._stall_after_s, self._shard_attempts = cluster.stall_after_s, cluster.shard_attempts
        self._stalls = StallWatch[str](cluster.stall_after_s, fleet.now_s)
        self._pulses: dict[str, Pulse] = {}
        self._asked_s: dict[str, float] = {}
        """When replicas were asked that have not answered yet."""
        self._last_asked_s: dict[str, float] = {}
        self._raised: dict[str, set[tuple[str, str]]] = {}
        """Shard → node and class of what was raised at it; the name of the class, since Ray makes new classes."""
        self._stuck: Counter[str] = Counter()
        """Shard → how often storage did not respond to a replica at it, while others had storage."""
        self._is_storage_away = False

    @property
    def replicas(self) -> list[str]:
        """Those that live."""
        return list(self._crew.hands)

    @property
    def aside(self) -> list[str]:
        """Nodes that were set aside."""
        return list(self._nodes.aside)

    def set_aside(self, node: str, reason: str) -> None:
        """Give a node no replica: it can't do the work."""
        self._room.set_aside(node, reason)

    def run(self, is_stopping: Callable[[], bool], stopped: Callable[[], Stopped], check: Callable[[], None]) -> None:
        """Hand out all shards, and wait until they are committed.

        Args:   is_stopping: looked at several times a second; the run then ends with what `stopped` gives.
                check: called several times a second; what it raises ends the run.
        Raises: ReplicaError: a shard lost its replica too often, no node is left, or none has had room for too long.
                StorageUnavailableError: a replica has waited for storage for too long.
                Whatever a replica raised, if it was on the only node, or two nodes raised it for the same shard.
        """
        looked_s, turned_s = -self._look_every_s, self._fleet.now_s()
        while self._left:
            check()
            if is_stopping():
                raise stopped()
            now_s, before_s = self._fleet.now_s(), turned_s
            turned_s = now_s
            if now_s - before_s > HELD_UP_S:  # it is this process that did not listen
                self._asked_s.clear()
            if now_s - looked_s >= self._look_every_s:
                looked_s = now_s
                self._look(now_s)
            self._crew.hand_out()
            for happening in self._fleet.happenings(WAIT_S):
                self._take(happening)
        self._show(0, [])

    def _take(self, happening: Happening) -> None:
        hand = self._crew.hands.get(happening.replica)
        if hand is None:  # it was ended meanwhile
            return
        match happening:
            case Placed(node=node, pid=pid):
                hand.moved_s = self._fleet.now_s()
                self._room.place(hand, node, pid)
            case Ready(device=device):
                self._crew.make_ready(hand, device)
            case Done():
                self._done(hand, happening)
            case Answered(pulse=pulse):
                self._pulses[hand.replica] = pulse
                self._asked_s.pop(hand.replica, None)
                hand.pace.reach(pulse.images)
            case Raised():
                self._failed(hand, happening)
            case Died(cause=cause, said=said):
                self._died(hand, cause, said)

    def _done(self, hand: Hand, done: Done) -> None:
        spec = self._crew.take_back(hand, done.shard)
        if spec is None:
            return
        self._left -= 1
        self._failures.after_commit(spec)
        hand.moved_s = self._fleet.now_s()
        self._nodes.after_commit(hand.node, hand.moved_s)
        hand.collected += done.result.computed
        self._crew.tell(
            events.ShardCommitted(
                shard=done.shard,
                replica=hand.replica,
                outcomes=self._count(done.result),
                failures=Counter(row.reason for row in done.result.rows if row.status == "failed"),
                computed=done.result.computed,
                seconds=done.result.seconds,
            )
        )

    def _failed(self, hand: Hand, raised: Raised) -> None:
        """What a replica raises is wrong with its machine, until another machine raises it for the same shard.

        A machine that has found out by itself that it can't do the work is no sign against the shard.
        """
        error, reason = raised.error, raised.said
        if isinstance(error, StorageUnavailableError):
            if self._is_storage_away_for_all(hand) or self._has_stuck_too_often(raised.shard):
                raise error
            self._fleet.end(hand.replica)
            self._died(hand, "unreachable", reason)
            return
        if isinstance(error, NodeUnfitError):
            reason = error.reason
        elif raised.shard:
            kind = type(error).__name__
            before = self._raised.setdefault(raised.shard, set())
            if any(node != hand.node and other == kind for node, other in before):
                raise raised.told or error
            before.add((hand.node, kind))
        self._crew.end(hand, "unfit", reason)
        self._room.set_aside(hand.node, reason, raised.told or error)

    def _is_storage_away_for_all(self, hand: Hand) -> bool:
        """Is there no sign that replicas on other nodes have storage?"""
        others = [name for name, other in self._crew.hands.items() if other.is_ready and other.node != hand.node]
        have = any(name in self._pulses and not self._pulses[name].storage_away_s for name in others)
        return not have and not self._nodes.has_other_committed(hand.node, hand.moved_s)

    def _has_stuck_too_often(self, shard: str) -> bool:
        """Does one file of this shard never respond, wherever it is asked for?"""
        if shard:
            self._stuck[shard] += 1
        return bool(shard) and self._stuck[shard] >= self._shard_attempts

    def _died(self, hand: Hand, cause: Cause, said: str) -> None:
        """A replica is gone. Whatever the cause, its shards are handed out again."""
        node, is_well = hand.node, self._nodes.is_well(hand.node)
        if cause == "process" and not is_well:
            cause = "unstarted" if not node else "preempted" if self._nodes.is_draining(node) else "node"
        lost = self._crew.lose(hand, cause, said)
        at = f" at shard {names(spec.name for spec in lost)}" if lost else ""
        if cause in ("process", "stalled", "unreachable"):  # of a node's end there is one line
            log.warning("replica %s on node %s died%s (%s): %s", hand.replica, node or "?", at, cause, said)
        if not node:
            self._room.after_death_without_place(said)
        if is_well and cause in ("process", "stalled"):
            in_work = self._collect([spec.name for spec in lost]) if lost else {}
            death = Death(lost=lost, in_work=in_work, node=node, at_s=self._fleet.now_s(), said=said)
            self._judge.decide(death, is_sure=self._nodes.is_sure(node))
            return
        self._crew.put_back(lost)
        if is_well and cause == "unreachable":
            self._judge.count_death(node, said)

    def _look(self, now_s: float) -> None:
        for node in self._room.look():
            self._failures.excuse(node, now_s)
        self._look_at_replicas(now_s)
        self._judge.look(now_s)
        self._room.follow(self._left, now_s)

    def _look_at_replicas(self, now_s: float) -> None:
        """Show how far the run is, and end replicas that stand still or don't answer."""
        hands = self._crew.hands
        for known in (self._pulses, self._last_asked_s):
            for name in known.keys() - hands.keys():
                del known[name]
        working = {name: hand for name, hand in hands.items() if hand.shards or (hand.node and not hand.is_ready)}
        pulses = {name: self._pulses.get(name) for name in working}
        self._crew.tell(events.Pulses(pulses=pulses, waiting=self._crew.waiting))
        rates = [rate for hand in hands.values() if (rate := hand.pace.per_s()) is not None]
        in_flight = sum(pulse.images - working[name].collected for name, pulse in pulses.items() if pulse)
        if any(pulse.images for pulse in self._pulses.values()):  # until then they load the model
            self._show(max(0, in_flight), rates)
        self._tell_of_storage([pulse for pulse in pulses.values() if pulse and pulse.storage_away_s])
        stalled = self._stalls.stalled(
            {
                name: pulse.images if pulse else None
                for name, pulse in pulses.items()
                if not (pulse and pulse.storage_away_s)  # it waits for what the others don't have either
            }
        )
        for name in stalled:
            shards = names(working[name].shards)
            what = f"no image of shard {shards} was finished" if shards else "the model was not loaded"
            self._fleet.end(name)
            self._died(working[name], "stalled", f"{what} for {self._stall_after_s:.0f} s")
        silent_s = UNREACHABLE_AT_END_S if self._crew.is_any_in_need else UNREACHABLE_S
        for name, asked_s in list(self._asked_s.items()):
            if name not in hands:
                del self._asked_s[name]
            elif hands[name].is_ready and now_s - asked_s > silent_s:
                self._fleet.end(name)
                self._died(hands[name], "unreachable", f"no answer for {silent_s:.0f} s")
        self._ask([name for name in working if name in hands and name not in self._asked_s], now_s)

    def _tell_of_storage(self, away: Sequence[Pulse]) -> None:
        """Say once that replicas wait for storage, and once that they do no longer."""
        if away and not self._is_storage_away:
            log.warning("storage does not respond to %s; they wait for it", amount(len(away), "replicas"))
        elif self._is_storage_away and not away:
            log.info("no replica waits for storage any more")
        self._is_storage_away = bool(away)

    def _ask(self, replicas: Sequence[str], now_s: float) -> None:
        """Ask how they are, those first that were not asked for longest."""
        asked = heapq.nsmallest(MOST_ASKED, replicas, key=lambda name: self._last_asked_s.get(name, -math.inf))
        self._fleet.ask(asked)
        self._asked_s |= dict.fromkeys(asked, now_s)
        self._last_asked_s |= dict.fromkeys(asked, now_s)
