"""What is known of the nodes of a cluster: which may have replicas, and how many in all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.replicas.fleet import Node

DEATHS_IN_A_ROW = 3
"""So many times the most replicas that a node has had at once: if as many die there, and no shard is committed in
between, the node is set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs from the last look, by the nodes' names."""

    joined: tuple[str, ...]
    draining: tuple[str, ...]
    """Newly so."""
    left: tuple[str, ...]


@dataclass(slots=True)
class Nodes:
    """The nodes at the last look."""

    _there: dict[str, Node] = field(default_factory=dict)
    _aside: dict[str, str] = field(default_factory=dict)
    _had_room: set[str] = field(default_factory=set)
    _deaths_in_a_row: dict[str, int] = field(default_factory=dict)
    _committed_s: dict[str, float] = field(default_factory=dict)
    """When each node last did."""
    _most_replicas: dict[str, int] = field(default_factory=dict)

    def look(self, nodes: Iterable[Node]) -> Changes:
        """Note which nodes there are."""
        before, self._there = self._there, {node.name: node for node in nodes}
        self._had_room |= {node.name for node in self._there.values() if node.slots}
        for name in self._aside.keys() - self._there.keys():  # one of that name may be another machine, or mended
            del self._aside[name]
            self._deaths_in_a_row.pop(name, None)
        return Changes(
            joined=tuple(name for name in self._there if name not in before),
            draining=tuple(
                name
                for name, node in self._there.items()
                if node.is_draining and not (name in before and before[name].is_draining)
            ),
            left=tuple(name for name in before if name not in self._there),
        )

    def is_well(self, name: str) -> bool:
        """Is it there, and not about to go?"""
        return name in self._there and not self._there[name].is_draining

    def is_sure(self, name: str) -> bool:
        """Is it certain that it lives, since the driver does?"""
        return name in self._there and self._there[name].is_drivers

    def is_draining(self, name: str) -> bool:
        """Will it be taken away?"""
        return name in self._there and self._there[name].is_draining

    def set_aside(self, name: str, reason: str) -> None:
        """Give it no replica any more."""
        self._aside.setdefault(name, reason)

    @property
    def aside(self) -> dict[str, str]:
        """Nodes that were set aside, with the reasons."""
        return dict(self._aside)

    def free(self, replicas: Mapping[str, int]) -> int:
        """Replicas for which there is room now, on all nodes that may have some.

        Args: replicas: node → how many are there.
        """
        # Of a GPU, .4 are three times in 1.2 and only twice in 1: what is free may look like room and be none.
        return sum(max(0, min(node.free, node.slots - replicas.get(node.name, 0))) for node in self._usable())

    def is_none_left(self) -> bool:
        """Were all set aside that have ever had room? One that was lost may be replaced."""
        return bool(self._aside) and self._had_room <= self._aside.keys()

    def is_only(self, name: str) -> bool:
        """Has no other node ever had room?"""
        return self._had_room <= {name}

    def after_commit(self, name: str, now_s: float) -> None:
        """Replicas there can do their work: the deaths in a row start again from 0."""
        self._committed_s[name] = now_s
        self.pardon(name)

    def pardon(self, name: str) -> None:
        """It was not to blame for the deaths there."""
        self._deaths_in_a_row.pop(name, None)

    def has_other_committed(self, name: str, since_s: float) -> bool:
        """Has another node committed a shard since then?"""
        return any(at_s > since_s for node, at_s in self._committed_s.items() if node != name)

    def note_replicas(self, name: str, replicas: int) -> None:
        """Note how many replicas it has now."""
        self._most_replicas[name] = max(replicas, self._most_replicas.get(name, 1))

    def after_death(self, name: str) -> int:
        """A process there died, and no image is to blame.

        Returns: how many died there in a row if that is too often, else 0.
        """
        deaths = self._deaths_in_a_row[name] = self._deaths_in_a_row.get(name, 0) + 1
        return deaths if deaths >= DEATHS_IN_A_ROW * self._most_replicas.get(name, 1) else 0

    def _usable(self) -> Sequence[Node]:
        return [node for node in self._there.values() if node.name not in self._aside and not node.is_draining]
