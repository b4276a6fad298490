"""Replicas as Ray actors: starts them, calls them, and translates what Ray tells of them. Fulfils `Fleet`.

Actors have `max_restarts=0`: while Ray restarts an actor itself, it fails calls that were never begun.
"""

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.files.model_cache import ReadChunk
from pipeline.records import ShardSpec
from pipeline.replicas.events import Cause
from pipeline.replicas.fleet import Answered, Died, Done, Happening, Node, Placed, Raised, Ready
from pipeline.replicas.hands import SHARDS_IN_HAND
from pipeline.replicas.on_ray.authenticated import ray
from pipeline.replicas.on_ray.placement import Needs, can_grow, live_nodes
from pipeline.replicas.on_ray.tasks import raised
from pipeline.replicas.replica import Replica
from pipeline.replicas.seat import Seat
from pipeline.replicas.setup import Setup
from pipeline.replicas.suspects import Caution
from pipeline.replicas.usage import ReplicaUsage

_LATE_S = 10.0
"""Longest wait for a result that is there: a large one lies on its replica's node, which may be out of reach."""
_OTHER_S = 0.5
"""Longest wait for Ray to say whether a dead replica's other call had ended before."""


@dataclass(frozen=True, slots=True)
class _Call:
    replica: str
    what: Literal["where", "prepare", "process", "pulse"]
    shard: str = ""


class ReplicaOnRay(Replica):
    """A replica that knows where it is."""

    def where(self) -> tuple[str, int]:
        """Tell the id of its node, and its process number."""
        return ray.get_runtime_context().get_node_id(), os.getpid()


class RayFleet:
    """Replicas on the cluster that this process is connected to.

    Args: read_chunk: as `model_source` gives it.
    """

    def __init__(self, setup: Setup, needs: Needs, read_chunk: ReadChunk | None = None) -> None:
        self._setup = setup.on(needs.device)
        self._needs, self._read_chunk = needs, read_chunk
        self.can_grow = can_grow()
        self._actors: dict[str, Any] = {}
        self._calls: dict[Any, _Call] = {}
        self._node_ids: dict[str, str] = {}
        self._node_of: dict[str, str] = {}

    def now_s(self) -> float:
        """See `Fleet`."""
        return time.monotonic()

    def nodes(self) -> Sequence[Node]:
        """See `Fleet`."""
        found = live_nodes(self._needs)
        self._node_ids |= {node.name: node_id for node_id, node in found.items()}
        return list(found.values())

    def start(self, replica: str, avoid: Collection[str]) -> None:
        """See `Fleet`."""
        # One memory arena for all threads: with glibc's default, one per thread, a replica of the nano model took 1.50
        # to 1.57 GB instead of 1.32 to 1.40.
        environment = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
        options = self._needs.options([self._node_ids[node] for node in avoid if node in self._node_ids])
        concurrency = SHARDS_IN_HAND + 1  # one more to answer how it is
        remote = ray.remote(max_restarts=0, max_concurrency=concurrency, runtime_env=environment, **options)(
            ReplicaOnRay
        )
        self._actors[replica] = remote.remote(self._setup)
        self._call(_Call(replica, "where"))

    def process(self, replica: str, spec: ShardSpec, caution: Caution) -> None:
        """See `Fleet`."""
        self._call(_Call(replica, "process", spec.name), spec, caution)

    def ask(self, replicas: Iterable[str]) -> None:
        """See `Fleet`."""
        for replica in replicas:
            self._call(_Call(replica, "pulse"))

    def end(self, replica: str) -> None:
        """See `Fleet`."""
        if actor := self._actors.pop(replica, None):
            # It may only be out of reach, and would then work on shards that others have now.
            ray.kill(actor)
        self._node_of.pop(replica, None)
        for ref in self._refs_of(replica):
            del self._calls[ref]

    def happenings(self, timeout_s: float) -> list[Happening]:
        """See `Fleet`."""
        refs = list(self._calls)
        if not refs:
            time.sleep(timeout_s)
            return []
        found, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        if not found:
            found, _ = ray.wait(refs, timeout=timeout_s, fetch_local=False)
        told: list[Happening] = []
        for ref in found:
            if ref in self._calls:  # else its replica is gone, and what it had done was told with that
                told += self._told(ref)
        return told

    def close(self) -> None:
        """Let all replicas go: Ray ends an actor that nobody refers to once its calls have ended."""
        self._actors.clear()
        self._calls.clear()

    def usage(self, replicas: Collection[str]) -> Mapping[str, ReplicaUsage]:
        """See `Fleet`."""
        asked = {self._actors[name].usage.remote(): name for name in replicas if name in self._actors}
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=1) if asked else ([], [])
        found = {}
        for ref in answered:
            try:
                found[asked[ref]] = ray.get(ref)
            except ray.exceptions.RayError:  # it died as its work was done
                continue
        return {name: usage for name, usage in found.items() if usage}

    def _call(self, call: _Call, *arguments: Any) -> None:
        self._calls[getattr(self._actors[call.replica], call.what).remote(*arguments)] = call

    def _refs_of(self, replica: str) -> list[Any]:
        return [ref for ref, call in self._calls.items() if call.replica == replica]

    def _told(self, ref: Any) -> list[Happening]:
        call = self._calls.pop(ref)
        try:
            return [self._answer(call, ray.get(ref, timeout=_LATE_S))]
        except ray.exceptions.RayTaskError as error:
            return [Raised(replica=call.replica, shard=call.shard, error=error.cause, told=raised(error))]
        except ray.exceptions.RayError as error:
            return self._gone(call.replica, error)

    def _answer(self, call: _Call, value: Any) -> Happening:
        match call.what:
            case "where":
                node_id, pid = value
                if node_id not in self._node_ids.values():
                    self.nodes()
                name = next((name for name, known in self._node_ids.items() if known == node_id), node_id)
                self._node_of[call.replica] = node_id
                self._call(_Call(call.replica, "prepare"), Seat(node=name, read_chunk=self._read_chunk))
                return Placed(replica=call.replica, node=name, pid=pid)
            case "prepare":
                return Ready(replica=call.replica, device=value)
            case "pulse":
                return Answered(replica=call.replica, pulse=value)
            case "process":
                return Done(replica=call.replica, shard=call.shard, result=value)

    def _gone(self, replica: str, error: ray.exceptions.RayError) -> list[Happening]:
        """Tell what it had done before it died, and that it did."""
        others = {ref: call for ref in self._refs_of(replica) if (call := self._calls[ref]).what == "process"}
        ended, _ = ray.wait(list(others), num_returns=len(others), timeout=_OTHER_S) if others else ([], [])
        told: list[Happening] = []
        for ref in ended:
            try:
                told.append(self._answer(others[ref], ray.get(ref, timeout=_OTHER_S)))
            except ray.exceptions.RayError:  # lost as well
                continue
        cause = self._cause(replica, error)
        self.end(replica)
        return [*told, Died(replica=replica, cause=cause, said=_said(error))]

    def _cause(self, replica: str, error: ray.exceptions.RayError) -> Cause:
        if isinstance(error, ray.exceptions.RayActorError) and error.preempted:
            return "preempted"
        if isinstance(error, ray.exceptions.ActorUnavailableError | ray.exceptions.GetTimeoutError):
            return "unreachable"
        node_id = self._node_of.get(replica)
        is_alive = any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())
        return "process" if is_alive or node_id is None else "node"


def _said(error: ray.exceptions.RayError) -> str:
    """What Ray says of an end, in one line; the first line is always the same."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if isinstance(error, ray.exceptions.ActorDiedError) and len(lines) > 1:
        told = [
            line for line in lines[1:] if not line.startswith(("class_name:", "actor_id:", "pid:", "namespace:", "ip:"))
        ]
        return (told or lines)[0][:500]
    return lines[0][:500] if lines else type(error).__name__
