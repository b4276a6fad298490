"""As many replicas as there is room and work for: follows the nodes of a cluster as they come and go."""

import logging
import math
from collections import Counter
from collections.abc import Sequence

from pipeline.config import ClusterConfig
from pipeline.errors import ReplicaError, UsageError
from pipeline.replicas import events
from pipeline.replicas.crew import Crew
from pipeline.replicas.fleet import Fleet
from pipeline.replicas.hands import Hand
from pipeline.replicas.nodes import Nodes

log = logging.getLogger(__name__)

MOST_DEATHS_WITHOUT_PLACE = 10
"""The environment of the job can't be set up, for example."""
PAUSE_S = 60.0
"""Before another replica is asked for when so many have died, and others work."""
SURPLUS_S = 10.0
"""How long a replica may wait for a place that is not there, when nobody asked for more than there is room for."""
MOST_NEW_NODES = 3
"""Nodes that an autoscaler may add in vain: if as many were set aside and none has worked, the next will not either."""
MOST_NAMED = 5
"""Nodes that the last message names."""


class Room:
    """Starts replicas, and ends those that have no place, or whose node goes.

    Args: nodes: shared with whoever decides about deaths; it is looked at here only.
    """

    def __init__(self, fleet: Fleet, cluster: ClusterConfig, crew: Crew, nodes: Nodes) -> None:
        self._fleet, self._cluster, self._crew, self._nodes = fleet, cluster, crew, nodes
        self._errors: dict[str, BaseException] = {}
        """Node → what showed that it can't do the work."""
        self._placeless_since_s: float | None = None
        self._surplus_since_s = math.inf
        self._paused_until_s = -math.inf
        self._wanted = self._died_without_place = 0

    def place(self, hand: Hand, node: str, pid: int) -> None:
        """A replica has a place."""
        self._died_without_place = 0
        self._crew.place(hand, node, pid)
        self._nodes.note_replicas(node, len(self._crew.on([node])))

    def after_death_without_place(self, said: str) -> None:
        """A replica ended before its process began.

        Raises: ReplicaError: too many did, and no other replica works.
        """
        self._died_without_place += 1
        if self._died_without_place >= MOST_DEATHS_WITHOUT_PLACE:
            said = f"{self._died_without_place} replicas in a row could not be started. Last: {said}"
            if not self._crew.is_any_placed:
                raise ReplicaError(said)
            log.warning("%s. The next one is asked for in %.0f s", said, PAUSE_S)
            self._died_without_place, self._paused_until_s = 0, self._fleet.now_s() + PAUSE_S

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
        if error:
            self._errors[node] = error
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
        Raises: ReplicaError: no node can do the work, or none has had room for too long. What the only node raised, or
                all of them.
        """
        if not self._crew.is_any_placed and self._is_hopeless():
            raise self._none_left()
        working = [hand for hand in self._crew.hands.values() if not self._nodes.is_draining(hand.node)]
        placeless, on = self._crew.on([""]), Counter(hand.node for hand in working)
        least, most = self._cluster.least_and_most
        # Without a most, only room that is there counts: an autoscaler adds a node for each replica without a place.
        asked = most or max(least, len(working) - len(placeless) + self._nodes.free(on))
        wanted = min(asked, left)
        if wanted > self._wanted:  # fewer: the work comes to its end
            log.info("replicas: %d, shards to do: %d", wanted, left)
        self._wanted = wanted
        if now_s >= self._paused_until_s:
            for _ in range(wanted - len(working)):
                self._crew.start(self._nodes.aside)
        self._end_surplus(placeless, len(working) - wanted, is_final=left < asked, now_s=now_s)
        self._watch_places(now_s)

    def _end_surplus(self, placeless: Sequence[Hand], surplus: int, *, is_final: bool, now_s: float) -> None:
        """End replicas that wait for a place which others have. Ray tells late who has what, so not at once."""
        if surplus <= 0 or not placeless:
            self._surplus_since_s = math.inf
            return
        self._surplus_since_s = min(self._surplus_since_s, now_s)
        if is_final or now_s - self._surplus_since_s >= SURPLUS_S:
            for hand in placeless[::-1][:surplus]:
                self._crew.end(hand, "surplus", "there is no room or no work for it any more")

    def _is_hopeless(self) -> bool:
        """Can no node do the work, as far as anybody can tell?"""
        if not self._nodes.is_none_left():
            return False
        return not self._fleet.can_grow or len(self._nodes.aside) >= MOST_NEW_NODES

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
        aside = self._nodes.aside
        kinds = {type(error).__name__ for error in self._errors.values()}
        # A wrong request is one on every node, and ends with the code of wrong requests.
        if self._errors.keys() >= aside.keys() and len(kinds) == 1:
            error = next(reversed(self._errors.values()))
            if isinstance(error, UsageError) or all(map(self._nodes.is_only, aside)):
                return error
        named = list(aside.items())[:MOST_NAMED]
        more = f"; and {len(aside) - MOST_NAMED} more" if len(aside) > MOST_NAMED else ""
        reasons = "; ".join(f"{node}: {reason}" for node, reason in named)
        return ReplicaError(f"no node is left that can do the work. {reasons}{more}")
