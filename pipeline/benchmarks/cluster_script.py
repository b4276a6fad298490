"""What can happen to a simulated cluster, and how long it takes until anybody hears of it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from pipeline.records import ShardSpec
from pipeline.replicas.suspects import Caution

START_S = 1.0
"""From asking for a replica to its process, on a node with room."""
UNPLUGGED_S = 25.0
"""Until the loss of a node without power is known."""
SHUTDOWN_S = 6.0
"""From the end of the processes to that of their node, when a machine shuts down."""
DRAIN_S = 30.0
"""From the notice to the end of a node."""
ANSWER_S = 0.05
TOGETHER_S = 0.005
"""What happens within so short a time is told together."""

What = Literal["join", "unplug", "shutdown", "drain", "kill", "sicken", "occupy", "hang", "cut", "storage away"]
"""sicken: everything that is tried on the node raises from now on; occupy: another job takes `amount` places there;
cut: the node's network is away for `amount` seconds; storage away: for everybody, for `amount` seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that happens to the cluster."""

    at_s: float
    what: What
    node: str = ""
    amount: float = 1.0
    """Places of a node that joins or is occupied; seconds of a cut or an outage."""


@dataclass(slots=True, kw_only=True)
class Machine:
    """A simulated node."""

    name: str
    slots: int
    taken: int = 0
    """By replicas, and by another job."""
    is_draining: bool = False
    is_sick: bool = False
    is_dark: bool = False
    """Without power: nothing happens there, and nobody has heard of it yet."""
    cut_until_s: float = 0.0


@dataclass(slots=True, kw_only=True, eq=False)
class Actor:
    """A simulated replica."""

    name: str
    avoid: frozenset[str]
    machine: Machine | None = None
    is_loaded: bool = False
    hangs: bool = False
    work: deque[tuple[ShardSpec, Caution]] = field(default_factory=deque)
    begun_s: float = 0.0
    images: int = 0
