"""Which replica gets which shard next: decided here, carried out by `cluster.py`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.records import ShardSpec

SHARDS_IN_HAND = 2
"""The shard that a replica's model works on, and another: it is read before its turn, or committed after it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Hand:
    """A replica, and what it has in hand."""

    replica: Any
    calls: dict[Any, ShardSpec] = field(default_factory=dict)
    """Call → the shard that it is about, in the order in which they were made."""
    collected: int = 0
    """Images that it has computed in shards that it is done with."""


def next_handout(
    hands: Sequence[Hand], waiting: Sequence[ShardSpec], needs_care: Callable[[ShardSpec], bool]
) -> tuple[Hand, ShardSpec] | None:
    """The replica and the shard that come together next; None if there is nothing to hand out.

    A replica without work takes whatever is first. One that works gets a second shard, unless one of the two needs
    care: if it dies once more, nothing else may have been in work. Nor does it get one while fewer shards wait than
    there are replicas: another one might have begun it sooner.

    Args: needs_care: has a shard lost its replica?
    """
    if not waiting:
        return None
    if idle := [hand for hand in hands if not hand.calls]:
        return idle[0], waiting[0]
    takers = [
        hand for hand in hands if len(hand.calls) < SHARDS_IN_HAND and not any(map(needs_care, hand.calls.values()))
    ]
    if not takers or len(waiting) < len(hands):
        return None
    return next(((takers[0], spec) for spec in waiting if not needs_care(spec)), None)


def names(specs: Iterable[ShardSpec]) -> str:
    """Of shards, for messages."""
    return " and ".join(spec.name for spec in specs)
