"""A cluster that is a script: nodes join, fail and leave on a clock of its own. Fulfils `Fleet`, for the dispatcher.

Nothing sleeps and nothing is computed, so days with a thousand replicas take minutes. What happens to machines is in
`Act`; how long it takes until anybody hears of it follows what was measured on Ray.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Literal

from pipeline.benchmarks.cluster_script import (
    ANSWER_S,
    DRAIN_S,
    SHUTDOWN_S,
    START_S,
    TOGETHER_S,
    UNPLUGGED_S,
    Act,
    Actor,
    Machine,
)
from pipeline.records import ShardRecord, ShardSpec, StoredFile
from pipeline.replicas.events import Pulse
from pipeline.replicas.fleet import Answered, Died, Done, Happening, Node, Placed, Raised, Ready
from pipeline.replicas.shards import ShardResult
from pipeline.replicas.suspects import Caution
from pipeline.replicas.usage import ReplicaUsage


class SimulatedFleet:
    """Replicas on a scripted cluster.

    Args:
        script: what happens, in any order.
        shard_s: seconds at the model per shard.
        load_s: seconds to load it.
        deadly: keys of images that kill their process.
        raising: keys of images at which every machine raises.
        drivers: the node that the driver runs on.
        batch_images: images that a journal names together.
    """

    can_grow = False

    def __init__(
        self,
        script: Sequence[Act],
        *,
        shard_s: float = 10.0,
        load_s: float = 20.0,
        deadly: Collection[str] = (),
        raising: Collection[str] = (),
        drivers: str = "",
        batch_images: int = 8,
    ) -> None:
        self._shard_s, self._load_s, self._drivers, self._batch_images = shard_s, load_s, drivers, batch_images
        self._deadly, self._raising = frozenset(deadly), frozenset(raising)
        self.raises_at_start: BaseException | None = None
        """What every replica raises instead of loading the model."""
        self._now_s = 0.0
        self._numbers = count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._machines: dict[str, Machine] = {}
        self._actors: dict[str, Actor] = {}
        self._placeless: dict[str, Actor] = {}
        self._told: list[Happening] = []
        self._journals: dict[str, Sequence[str]] = {}
        self._away_until_s = 0.0
        for act in script:
            self._at(act.at_s, partial(self._perform, act))

    # What the dispatcher calls

    def now_s(self) -> float:
        """See `Fleet`."""
        return self._now_s

    def nodes(self) -> Sequence[Node]:
        """See `Fleet`."""
        return [
            Node(
                name=machine.name,
                slots=machine.slots,
                free=max(0, machine.slots - machine.taken),
                is_draining=machine.is_draining,
                is_drivers=machine.name == self._drivers,
            )
            for machine in self._machines.values()
        ]

    def start(self, replica: str, avoid: Collection[str]) -> None:
        """See `Fleet`."""
        self._actors[replica] = self._placeless[replica] = Actor(name=replica, avoid=frozenset(avoid))
        self._place()

    def process(self, replica: str, spec: ShardSpec, caution: Caution) -> None:
        """See `Fleet`."""
        actor = self._actors[replica]
        assert actor.is_loaded, "a shard was given to a replica that is not ready"
        assert len(actor.work) < 2, "a replica was given a third shard"
        actor.work.append((spec, caution))
        if len(actor.work) == 1:
            self._begin(actor)

    def ask(self, replicas: Iterable[str]) -> None:
        """See `Fleet`."""
        for name in replicas:
            self._after(ANSWER_S, partial(self._answer, self._actors[name]))

    def end(self, replica: str) -> None:
        """See `Fleet`."""
        if actor := self._actors.get(replica):
            self._remove(actor)
            self._place()

    def happenings(self, timeout_s: float) -> list[Happening]:
        """See `Fleet`."""
        until_s = self._now_s + timeout_s
        while not self._told and self._agenda and self._agenda[0][0] <= until_s:
            together_s = self._agenda[0][0] + TOGETHER_S
            while self._agenda and self._agenda[0][0] <= together_s:
                self._now_s, _, act = heapq.heappop(self._agenda)
                act()
        if not self._told:
            self._now_s = until_s
        told, self._told = self._told, []
        return [happening for happening in told if happening.replica in self._actors or isinstance(happening, Died)]

    def usage(self, replicas: Collection[str]) -> Mapping[str, ReplicaUsage]:
        """See `Fleet`."""
        return {}

    def collect(self, shards: Sequence[str]) -> dict[str, Sequence[str]]:
        """Read and remove the journals of shards."""
        return {shard: self._journals.pop(shard, ()) for shard in shards}

    # What happens

    def _perform(self, act: Act) -> None:
        if act.what == "storage away":
            self._away_until_s = max(self._away_until_s, self._now_s + act.amount)
            return
        if act.what == "join":
            self._machines.setdefault(act.node, Machine(name=act.node, slots=round(act.amount)))
            self._place()
            return
        machine = self._machines.get(act.node)
        if machine is None:
            return
        there = [actor for actor in self._actors.values() if actor.machine is machine]
        match act.what:
            case "unplug":
                machine.is_dark = True
                self._after(UNPLUGGED_S, partial(self._leave, machine, "unreachable"))
            case "shutdown":
                for actor in there:
                    self._die(actor, "process")
                machine.slots = 0
                self._after(SHUTDOWN_S, partial(self._leave, machine, "node"))
            case "drain":
                machine.is_draining = True
                self._after(DRAIN_S, partial(self._leave, machine, "preempted"))
            case "kill":
                if there:
                    self._die(there[0], "process")
                    self._place()
            case "sicken":
                machine.is_sick = True
            case "occupy":
                machine.taken += round(act.amount)
            case "hang":
                if there:
                    there[0].hangs = True
            case "cut":
                machine.cut_until_s = max(machine.cut_until_s, self._now_s + act.amount)

    def _leave(self, machine: Machine, cause: Literal["unreachable", "node", "preempted"]) -> None:
        self._machines.pop(machine.name, None)
        for actor in [actor for actor in self._actors.values() if actor.machine is machine]:
            self._die(actor, cause)

    def _place(self) -> None:
        free = [
            machine for machine in self._machines.values() if machine.taken < machine.slots and not machine.is_draining
        ]
        for actor in list(self._placeless.values()) if free else ():
            machine = next((machine for machine in free if machine.name not in actor.avoid), None)
            if machine is None:
                continue
            del self._placeless[actor.name]
            actor.machine = machine
            machine.taken += 1
            if machine.taken >= machine.slots:
                free.remove(machine)
            self._after(START_S, partial(self._started, actor))

    def _started(self, actor: Actor) -> None:
        if self._is_there(actor) and actor.machine and not actor.machine.is_dark:
            self._told.append(Placed(replica=actor.name, node=actor.machine.name, pid=1))
            self._after(self._load_s, partial(self._loaded, actor))

    def _loaded(self, actor: Actor) -> None:
        if not self._is_alive(actor) or self._is_late(actor, partial(self._loaded, actor)):
            return
        sick = RuntimeError("CUDA error: ECC") if actor.machine and actor.machine.is_sick else None
        if error := self.raises_at_start or sick:
            self._told.append(Raised(replica=actor.name, shard="", error=error))
            return
        actor.is_loaded = True
        self._told.append(Ready(replica=actor.name, device="cpu"))

    def _begin(self, actor: Actor) -> None:
        actor.begun_s = self._now_s
        spec, caution = actor.work[0]
        keys = [sample.key for sample in spec.samples]
        order = [*(key for key in keys if key in caution.alone), *keys] if self._deadly else []
        deadly = next((key for key in order if key in self._deadly and key not in caution.skipped), "")
        if caution.noted:
            first = keys.index(deadly) // self._batch_images * self._batch_images if deadly else 0
            alone = deadly if deadly in caution.alone else "" if deadly else next(iter(sorted(caution.alone)), "")
            self._journals[spec.name] = [alone] if alone else keys[first : first + self._batch_images]
        if not deadly:
            self._after(self._shard_s, partial(self._finish, actor, spec))
            return
        self._after(self._shard_s / 2, partial(self._killed_by, actor, spec))

    def _killed_by(self, actor: Actor, spec: ShardSpec) -> None:
        if self._is_at(actor, spec):
            self._die(actor, "process")
            self._place()

    def _finish(self, actor: Actor, spec: ShardSpec) -> None:
        if not self._is_at(actor, spec) or self._is_late(actor, partial(self._finish, actor, spec)):
            return
        if (actor.machine and actor.machine.is_sick) or any(sample.key in self._raising for sample in spec.samples):
            self._told.append(Raised(replica=actor.name, shard=spec.name, error=RuntimeError("CUDA error: ECC")))
            return
        actor.work.popleft()
        actor.images += len(spec.samples)
        self._journals.pop(spec.name, None)
        result = ShardResult(record=_RECORD, rows=(), computed=len(spec.samples), seconds=self._now_s - actor.begun_s)
        self._told.append(Done(replica=actor.name, shard=spec.name, result=result))
        if actor.work:
            self._begin(actor)

    def _is_late(self, actor: Actor, again: Callable[[], None]) -> bool:
        """Is the network or the storage away? Then the same happens later."""
        until_s = max(self._away_until_s, actor.machine.cut_until_s if actor.machine else 0.0)
        if until_s > self._now_s:
            self._at(until_s, again)
        return until_s > self._now_s

    def _answer(self, actor: Actor) -> None:
        if not self._is_there(actor):
            return
        if actor.machine and actor.machine.is_dark:
            return
        if actor.machine and actor.machine.cut_until_s > self._now_s:
            self._at(actor.machine.cut_until_s, partial(self._answer, actor))
            return
        done = 0
        if actor.work and not actor.hangs:
            share = min(1.0, (self._now_s - actor.begun_s) / self._shard_s)
            done = int(share * (len(actor.work[0][0].samples) - 1))
        away_s = max(0.0, self._away_until_s - self._now_s)
        pulse = Pulse(images=actor.images + done, storage_away_s=away_s)
        self._told.append(Answered(replica=actor.name, pulse=pulse))

    def _die(self, actor: Actor, cause: Literal["process", "unreachable", "node", "preempted"]) -> None:
        self._remove(actor)
        self._told.append(Died(replica=actor.name, cause=cause, said=f"{cause} ended"))

    def _remove(self, actor: Actor) -> None:
        if self._actors.pop(actor.name, None) and actor.machine:
            actor.machine.taken -= 1
        self._placeless.pop(actor.name, None)

    def _is_there(self, actor: Actor) -> bool:
        return self._actors.get(actor.name) is actor

    def _is_at(self, actor: Actor, spec: ShardSpec) -> bool:
        return self._is_alive(actor) and bool(actor.work) and actor.work[0][0] is spec

    def _is_alive(self, actor: Actor) -> bool:
        return self._is_there(actor) and not actor.hangs and not (actor.machine and actor.machine.is_dark)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._at(self._now_s + seconds, act)

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at_s, next(self._numbers), act))


_RECORD = ShardRecord(shard="", rows=StoredFile(name="", file_bytes=0, sha256=""), done=0, failed=0)
