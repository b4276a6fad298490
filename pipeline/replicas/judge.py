"""Whom a death is blamed on: the image at which it happened, the node on which, or nobody."""

import logging

from pipeline.errors import ReplicaError
from pipeline.replicas import events
from pipeline.replicas.crew import Crew
from pipeline.replicas.failures import Death, Failures, GiveUp, Retry, Wait
from pipeline.replicas.nodes import Nodes
from pipeline.replicas.room import Room

log = logging.getLogger(__name__)

CONFIRMED_S = 10.0
"""A node that is still there so long after a process on it died is alive. Ray reports the loss of a machine that shuts
down within seconds, and that of one without power in up to a minute; its processes are then unreachable, not dead."""


class Judge:
    """Decides about deaths, at once or when the node has proven to live on, and hands the lost shards back."""

    def __init__(self, failures: Failures, crew: Crew, nodes: Nodes, room: Room) -> None:
        self._failures, self._crew, self._nodes, self._room = failures, crew, nodes, room
        self._held: list[Death] = []

    def decide(self, death: Death, *, is_sure: bool) -> None:
        """Decide about a death. Args: is_sure: its node is known to live on.

        Raises: ReplicaError: a shard lost its replica too often.
        """
        match self._failures.after_death(death, is_sure=is_sure):
            case GiveUp(reason=reason):
                raise ReplicaError(reason)
            case Wait():
                self._held.append(death)
            case Retry(shards=shards, guilty=guilty):
                for key in guilty:
                    log.warning("key %s killed its replica again and is skipped: it will be recorded as failed", key)
                    self._crew.tell(events.ImageBlamed(key=key))
                self._crew.put_back(shards)
                if guilty:
                    self._nodes.pardon(death.node)
                else:
                    self.count_death(death.node, death.said)

    def count_death(self, node: str, said: str) -> None:
        """A node whose replicas die one after the other is no place for any."""
        if too_often := self._nodes.after_death(node):
            reason = f"{too_often} replicas died in a row without committing a shard. Last: {said}"
            self._room.set_aside(node, reason, ReplicaError(reason))

    def look(self, now_s: float) -> None:
        """Decide about deaths that waited until their node had proven to be alive, or was gone."""
        held, self._held = self._held, []
        for death in held:
            if not self._nodes.is_well(death.node):
                self._crew.put_back(death.lost)
            elif now_s - death.at_s >= CONFIRMED_S:
                self.decide(death, is_sure=True)
            else:
                self._held.append(death)
