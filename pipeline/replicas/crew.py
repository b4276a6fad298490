"""The replicas of a run and the shards that nobody has: who lives where, who has what, and who is free.

Every change is told to the watches. Deciding is left to `dispatcher.py`.
"""

from collections.abc import Callable, Collection, Sequence

from pipeline.records import ShardSpec
from pipeline.replicas import events
from pipeline.replicas.events import Cause, Event, Watch
from pipeline.replicas.fleet import Fleet
from pipeline.replicas.hands import Free, Hand, Waiting
from pipeline.replicas.suspects import Caution


class Crew:
    """Replicas by name, and the queue.

    Args:
        caution: how carefully a shard is to be worked on.
        may_work: tells whether the replicas of a node get further shards.
    """

    def __init__(
        self,
        specs: Sequence[ShardSpec],
        fleet: Fleet,
        caution: Callable[[ShardSpec], Caution],
        may_work: Callable[[str], bool],
        watches: Sequence[Watch],
    ) -> None:
        self._fleet, self._caution, self._may_work, self._watches = fleet, caution, may_work, watches
        self.hands: dict[str, Hand] = {}
        self._waiting = Waiting(specs, self._needs_care)
        self._free = Free()
        self._named = self._ready = 0

    @property
    def waiting(self) -> int:
        """Shards that no replica has in hand."""
        return len(self._waiting)

    @property
    def is_any_placed(self) -> bool:
        """Has one of them a place? It may be ready, or loading the model."""
        return any(hand.node for hand in self.hands.values())

    @property
    def is_any_in_need(self) -> bool:
        """Is one of them idle, with no shard left to give?"""
        return self._free.is_any_idle and not self._waiting

    def on(self, nodes: Collection[str]) -> list[Hand]:
        """The replicas on some nodes; "" is where those are that have no place yet."""
        return [hand for hand in self.hands.values() if hand.node in nodes]

    def tell(self, event: Event) -> None:
        """Tell the watches what happened."""
        for watch in self._watches:
            watch(event)

    def start(self, avoid: Collection[str]) -> None:
        """Ask for one more replica, not on these nodes."""
        replica = f"r{self._named}"
        self._named += 1
        self.hands[replica] = Hand(replica=replica)
        self._fleet.start(replica, avoid)
        self.tell(events.ReplicaAsked(replica=replica))

    def place(self, hand: Hand, node: str, pid: int) -> None:
        """Its process runs."""
        hand.node = node
        self.tell(events.ReplicaPlaced(replica=hand.replica, node=node, pid=pid))

    def make_ready(self, hand: Hand, device: str) -> None:
        """It takes shards from now on."""
        hand.is_ready = True
        self._ready += 1
        self.note(hand)
        self.tell(events.ReplicaReady(replica=hand.replica, device=device))

    def hand_out(self) -> None:
        """Give shards to whoever is free."""
        for hand, spec in self._free.handouts(self._waiting, self._ready):
            hand.shards[spec.name] = spec
            self.note(hand)
            self._fleet.process(hand.replica, spec, self._caution(spec))
            self.tell(events.ShardBegun(shard=spec.name, replica=hand.replica))

    def take_back(self, hand: Hand, shard: str) -> ShardSpec | None:
        """A replica is done with a shard; None if it has no such shard in hand."""
        spec = hand.shards.pop(shard, None)
        self.note(hand)
        return spec

    def note(self, hand: Hand) -> None:
        """Note whether a replica is free for another shard."""
        self._free.note(hand, self._needs_care, may_work=self._may_work(hand.node))

    def end(self, hand: Hand, cause: Cause, said: str) -> None:
        """End a replica; its shards are handed out again, and no image is blamed."""
        self._fleet.end(hand.replica)
        self.put_back(self.lose(hand, cause, said))

    def lose(self, hand: Hand, cause: Cause, said: str) -> tuple[ShardSpec, ...]:
        """A replica is no more. Returns: what it had in hand, which is in no queue now."""
        del self.hands[hand.replica]
        self._ready -= hand.is_ready
        self._free.forget(hand)
        for shard in hand.shards:
            self.tell(events.ShardReturned(shard=shard, replica=hand.replica))
        self.tell(events.ReplicaEnded(replica=hand.replica, cause=cause, said=said))
        return tuple(hand.shards.values())

    def put_back(self, specs: Sequence[ShardSpec]) -> None:
        """Put shards at the head of the queue."""
        self._waiting.put_back(specs)

    def _needs_care(self, spec: ShardSpec) -> bool:
        return self._caution(spec).noted
