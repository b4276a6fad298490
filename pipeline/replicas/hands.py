"""Which replica gets which shard next.

A replica without work takes the first shard that waits. A working one gets a second shard, which it reads ahead, unless
one of the two needs care: if the replica dies again, nothing else may have been in work. It gets none while fewer
shards wait than there are replicas, since another replica might begin the shard sooner.

Each step takes the same time however many shards and replicas there are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.progress.pace import Pace
from pipeline.records import ShardSpec

SHARDS_IN_HAND = 2
"""The shard at a replica's model, and another one that is being read before it or committed after it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Hand:
    """A replica and the shards that it has in hand."""

    replica: str
    node: str = ""
    """"" until it has a place."""
    is_ready: bool = False
    shards: dict[str, ShardSpec] = field(default_factory=dict)
    """Name → spec, in the order in which they were given."""
    collected: int = 0
    """Images that it computed in shards that it has finished."""
    moved_s: float = 0.0
    """When it was placed, or last committed a shard, by the fleet's clock."""
    pace: Pace = field(default_factory=lambda: Pace(total=None))
    """Of the images that it finishes."""


class Waiting:
    """Shards that no replica has. Those that were lost come first."""

    def __init__(self, specs: Iterable[ShardSpec], needs_care: Callable[[ShardSpec], bool]) -> None:
        self._needs_care = needs_care
        self._careful = deque[ShardSpec]()
        self._others = deque[ShardSpec]()
        self.put_back(specs)

    def __len__(self) -> int:
        return len(self._careful) + len(self._others)

    def put_back(self, specs: Iterable[ShardSpec]) -> None:
        """Put shards at the head, in this order."""
        for spec in reversed(list(specs)):
            (self._careful if self._needs_care(spec) else self._others).appendleft(spec)

    def take(self) -> ShardSpec:
        """Take the first one."""
        return (self._careful or self._others).popleft()

    def take_without_care(self) -> ShardSpec | None:
        """Take the first one that may be in work beside another; None if there is none."""
        return self._others.popleft() if self._others else None


class Free:
    """Ready replicas that may get a shard: without one, or with one that needs no care."""

    def __init__(self) -> None:
        self._idle: dict[str, Hand] = {}
        self._half: dict[str, Hand] = {}

    @property
    def is_any_idle(self) -> bool:
        """Has one of them no shard at all?"""
        return bool(self._idle)

    def note(self, hand: Hand, needs_care: Callable[[ShardSpec], bool], *, may_work: bool = True) -> None:
        """Note what a hand holds now. Args: may_work: it may get shards at all."""
        self._idle.pop(hand.replica, None)
        self._half.pop(hand.replica, None)
        if not (hand.is_ready and may_work):
            return
        if not hand.shards:
            self._idle[hand.replica] = hand
        elif len(hand.shards) < SHARDS_IN_HAND and not any(map(needs_care, hand.shards.values())):
            self._half[hand.replica] = hand

    def forget(self, hand: Hand) -> None:
        """The replica is no more."""
        self._idle.pop(hand.replica, None)
        self._half.pop(hand.replica, None)

    def handouts(self, waiting: Waiting, ready: int) -> Iterator[tuple[Hand, ShardSpec]]:
        """Each next replica with the shard it gets, until there is nothing to hand out; the caller notes each hand.

        Args: ready: replicas that are ready.
        """
        while waiting and self._idle:
            yield next(iter(self._idle.values())), waiting.take()
        while self._half and len(waiting) >= ready and (spec := waiting.take_without_care()):
            yield next(iter(self._half.values())), spec


def names(shards: Iterable[str]) -> str:
    """Names of shards, for messages."""
    return " and ".join(shards)
