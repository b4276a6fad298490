"""Which replica gets which shard next: decided here, carried out by `cluster.py`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.progress.pace import Pace
from pipeline.records import ShardSpec

SHARDS_IN_HAND = 2
"""The shard at a replica's model, and another one that is being read before it or committed after it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Hand:
    """A replica and the shards that it has in hand."""

    replica: Any
    calls: dict[Any, ShardSpec] = field(default_factory=dict)
    """Call → its shard, in the order in which the calls were made."""
    collected: int = 0
    """Images that it computed in shards that it has finished."""
    pace: Pace = field(default_factory=lambda: Pace(total=None))
    """Of the images that it finishes."""


def next_handout(
    hands: Sequence[Hand], waiting: Sequence[ShardSpec], needs_care: Callable[[ShardSpec], bool]
) -> tuple[Hand, ShardSpec] | None:
    """The next replica and the shard it gets; None if there is nothing to hand out.

    A replica without work takes the first shard that waits. A working replica gets a second shard, unless one of the
    two needs care: if the replica dies again, nothing else may have been in work. It gets none while fewer shards wait
    than there are replicas, since another replica might begin the shard sooner.

    Args: needs_care: tells whether a shard has lost its replica before.
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
    """Names of shards, for messages."""
    return " and ".join(spec.name for spec in specs)
