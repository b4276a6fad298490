"""As many replicas as there is room and work for: follows the nodes of a cluster as they come and go."""

import logging

from pipeline.config import ClusterConfig
from pipeline.errors import ReplicaError
from pipeline.replicas import events
from pipeline.replicas.crew import Crew
from pipeline.replicas.fleet import Fleet
from pipeline.replicas.hands import Hand
from pipeline.replicas.nodes import Nodes

log = logging.getLogger(__name__)

MOST_DEATHS_WITHOUT_PLACE = 10
"""The environment of the job can't be set up, for example."""


class Room:
    """Starts and ends replicas that have nothing in hand.

    Args: nodes: shared with whoever decides about deaths; it is looked at here only.
    """

    def __init__(self, fleet: Fleet, cluster: ClusterConfig, crew: Crew, nodes: Nodes) -> None:
        self._fleet, self._cluster, self._crew, self._nodes = fleet, cluster, crew, nodes
        self._last_error: BaseException | None = None
        self._placeless_since_s: float | None = None
        self._wanted = self._died_without_place = 0

    def place(self, hand: Hand, node: str, pid: int) -> None:
        """A replica has a place."""
        self._died_without_place = 0
        self._crew.place(hand, node, pid)
        self._nodes.note_replicas(node, len(self._crew.on([node])))

    def after_death_without_place(self, said: str) -> None:
        """A replica ended before its process began.

        Raises: ReplicaError: too many did.
        """
        self._died_without_place += 1
        if self._died_without_place >= MOST_DEATHS_WITHOUT_PLACE:
            raise ReplicaError(f"{self._died_without_place} replicas in a row could not be started. Last: {said}")

    def look(self) -> tuple[str, ...]:
        """Note which nodes there are. Returns: those that are gone or about to go since the last look."""
        changes = self._nodes.look(self._fleet.nodes())
        for node in changes.joined:
            self._crew.tell(events.NodeJoined(node=node))
        for node in changes.draining:
            log.warning("node %s will be taken away; its replicas get no further shards", node)
            self._crew.tell(events.NodeDraining(node=node))
        for node in changes.left:
            log.warning("node %s is gone", node)
            self._crew.tell(events.NodeLeft(node=node))
        for hand in self._crew.on(changes.joined):  # a replica may tell of its node before the cluster does
            self._crew.note(hand)
        for hand in self._crew.on(changes.left):
            self._crew.end(hand, "node", f"node {hand.node} is gone")
        for hand in list(self._crew.hands.values()):
            if self._nodes.is_draining(hand.node):
                self._crew.note(hand)
                if not hand.shards:
                    self._crew.end(hand, "preempted", f"node {hand.node} is about to be taken away")
        return (*changes.draining, *changes.left)

    def set_aside(self, node: str, reason: str, error: BaseException | None = None) -> None:
        """Give a node no replica any more. Replicas that wait for a place might get one there: they are asked for anew.

        Args: error: what showed it; raised if it was the only node.
        """
        self._last_error = error or self._last_error
        if node in self._nodes.aside:
            return
        self._nodes.set_aside(node, reason)
        log.warning("node %s is set aside: %s", node, reason)
        self._crew.tell(events.NodeSetAside(node=node, reason=reason))
        for hand in self._crew.on([""]):
            self._crew.end(hand, "surplus", f"asked for anew, without node {node}")

    def follow(self, left: int, now_s: float) -> None:
        """Have the right number of replicas.

        Args:   left: shards that are not committed.
        Raises: ReplicaError: no node can do the work, or none has had room for too long. What the only node raised.
        """
        if self._nodes.is_none_left() and not self._crew.is_any_placed and not self._fleet.can_grow:
            raise self._none_left()
        least, most = self._cluster.least_and_most
        wanted = min(most or max(least, self._nodes.room()), left)
        if wanted > self._wanted:  # fewer: the work comes to its end
            log.info("replicas: %d, shards to do: %d", wanted, left)
        self._wanted = wanted
        there = [hand for hand in self._crew.hands.values() if not self._nodes.is_draining(hand.node)]
        for _ in range(wanted - len(there)):
            self._crew.start(self._nodes.aside)
        placeless = self._crew.on([""])
        for hand in placeless[::-1][: max(0, len(there) - wanted)]:
            self._crew.end(hand, "surplus", "there is no room or no work for it any more")
        self._watch_places(now_s)

    def _watch_places(self, now_s: float) -> None:
        if self._crew.is_any_placed:
            self._placeless_since_s = None
        elif self._placeless_since_s is None:
            self._placeless_since_s = now_s
        elif now_s - self._placeless_since_s > self._cluster.nodes_patience_s:
            if self._nodes.aside:
                raise self._none_left()
            raise ReplicaError(
                f"no node of the cluster has had room for a replica for {self._cluster.nodes_patience_s:.0f} s "
                "(--nodes-patience-s). `ray status` shows what it has and who uses it. Once there is room, run the "
                "same command again to resume"
            )

    def _none_left(self) -> BaseException:
        if self._last_error and len(self._nodes.aside) == 1:
            return self._last_error
        reasons = "; ".join(f"{node}: {reason}" for node, reason in self._nodes.aside.items())
        return ReplicaError(f"no node is left that can do the work. {reasons}")
