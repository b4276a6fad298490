"""Sessions as scripts of events: every time, name and count follows from a number by a formula."""

from pipeline.replicas.events import (
    ImageBlamed,
    NodeDraining,
    NodeJoined,
    NodeLeft,
    NodeSetAside,
    Pulse,
    Pulses,
    ReplicaAsked,
    ReplicaEnded,
    ReplicaPlaced,
    ReplicaReady,
    ShardBegun,
    ShardCommitted,
    ShardReturned,
    WorkBegan,
    WorkEnded,
)

BEGAN_S = 1_764_208_800.0
PER_SHARD = 64
GB = 10**9


class Script:
    """A cluster that works by formulas, told as events to whoever listens. Time moves in steps of `step_s`."""

    def __init__(self, listeners, *, shards=400, step_s=2.0, began_s=BEGAN_S):
        self.listeners, self.step_s, self.now_s = listeners, step_s, began_s
        self.waiting = [f"{number:06d}" for number in range(shards)]
        self.committed = []
        self.replicas = {}
        self._named = 0
        self.tell(WorkBegan, images=(shards + 40) * PER_SHARD, settled=40 * PER_SHARD, shards=shards)

    def tell(self, kind, **values):
        event = kind(at_s=self.now_s, **values)
        for listen in self.listeners:
            listen(event)

    def join(self, node, count):
        self.tell(NodeJoined, node=node)
        return [self.ask(node) for _ in range(count)]

    def ask(self, node, *, loads_s=40.0, per_s=1.5):
        name = f"r{self._named}"
        self._named += 1
        self.tell(ReplicaAsked, replica=name)
        per_s *= 1 + 0.25 * ((self._named * 7) % 5 - 2) / 2
        self.replicas[name] = {
            "node": node,
            "placed": False,
            "ready_s": self.now_s + loads_s,
            "ready": False,
            "asked_s": self.now_s,
            "per_s": per_s,
            "hand": [],
            "images": 0.0,
            "committed": 0,
            "worked_s": 0.0,
        }
        return name

    def end(self, name, cause, said):
        replica = self.replicas.pop(name)
        for shard in replica["hand"]:
            self.tell(ShardReturned, shard=shard, replica=name)
        self.waiting[:0] = replica["hand"]
        self.tell(ReplicaEnded, replica=name, cause=cause, said=said)

    def lose(self, node, cause, said):
        for name in [name for name, replica in self.replicas.items() if replica["node"] == node]:
            self.end(name, cause, said)

    def run(self, seconds, slow=1.0):
        for _ in range(int(seconds / self.step_s)):
            self.step(slow)

    def step(self, slow=1.0):
        self.now_s += self.step_s
        pulses = {}
        for name, replica in self.replicas.items():
            if not replica["placed"] and replica["node"] and self.now_s - replica["asked_s"] > 4:
                replica["placed"] = True
                self.tell(ReplicaPlaced, replica=name, node=replica["node"], pid=4000 + int(name[1:]))
            if replica["placed"] and not replica["ready"] and self.now_s >= replica["ready_s"]:
                replica["ready"] = True
                self.tell(ReplicaReady, replica=name, device="NVIDIA H100")
            if replica["ready"]:
                self._work(name, replica, slow)
            if replica["placed"]:
                pulses[name] = self._pulse(replica)
        self.tell(Pulses, pulses=pulses, waiting=len(self.waiting))

    def _work(self, name, replica, slow):
        while len(replica["hand"]) < 2 and self.waiting:
            replica["hand"].append(self.waiting.pop(0))
            self.tell(ShardBegun, shard=replica["hand"][-1], replica=name)
        if not replica["hand"]:
            return
        replica["images"] += replica["per_s"] * slow * self.step_s
        replica["worked_s"] += 0.96 * self.step_s * min(1.0, slow)
        while replica["hand"] and replica["images"] - replica["committed"] >= PER_SHARD:
            shard = replica["hand"].pop(0)
            replica["committed"] += PER_SHARD
            failed = int(shard) % 9 == 4
            accepted = 40 + int(shard) % 11
            outcomes = {"accepted": accepted, "rejected": PER_SHARD - accepted - failed, "failed": int(failed)}
            self.tell(
                ShardCommitted,
                shard=shard,
                replica=name,
                outcomes=outcomes,
                failures={("missing", "undecodable", "too_large")[int(shard) // 9 % 5 % 3]: 1} if failed else {},
                computed=PER_SHARD,
                seconds=PER_SHARD / replica["per_s"],
            )
            self.committed.append(shard)
        if not replica["hand"]:
            replica["images"] = replica["committed"]

    def _pulse(self, replica):
        ready_for_s = max(0.0, self.now_s - replica["ready_s"])
        return Pulse(
            images=int(replica["images"]),
            predicting_s=replica["worked_s"],
            waiting_s=max(0.0, ready_for_s - replica["worked_s"]) / 2,
            rss_bytes=int(3.1 * GB),
            device_bytes=int(17.4 * GB),
            batch_images=8,
            storage_errors=int(ready_for_s // 600),
        )


def an_eventful_session(listeners, *, ends=True, shards=400):
    """A session of some 35 minutes in which about everything happens. Returns: its script."""
    script = Script(listeners, shards=shards)
    for number in range(1, 4):
        script.join(f"gpu-node-{number}", 2)
    script.tell(NodeJoined, node="gpu-node-4")
    script.tell(NodeSetAside, node="gpu-node-4", reason="CUDA error: uncorrectable ECC error encountered")
    script.run(420)
    script.lose("gpu-node-2", "node", "The node died: its raylet did not answer for 30 s")
    script.tell(NodeLeft, node="gpu-node-2")
    waiting = [script.ask("") for _ in range(2)]
    script.run(240)
    for name in waiting:
        script.end(name, "surplus", "there is no place for it")
    script.join("gpu-node-5", 2)
    script.run(200)
    script.run(120, slow=0.25)
    script.end("r0", "process", "The actor died unexpectedly: SIGSEGV")
    script.ask("gpu-node-1")
    script.run(160)
    first = [name for name, replica in script.replicas.items() if replica["node"] == "gpu-node-1"]
    script.end(first[-1], "process", "The actor died unexpectedly: SIGSEGV")
    script.tell(ImageBlamed, key="000000017178")
    script.ask("gpu-node-1")
    script.run(300)
    script.tell(NodeDraining, node="gpu-node-3")
    script.run(60)
    script.lose("gpu-node-3", "preempted", "The node was terminated: spot instance reclaimed")
    script.tell(NodeLeft, node="gpu-node-3")
    script.run(300)
    if ends:
        while script.waiting or any(replica["hand"] for replica in script.replicas.values()):
            script.step()
        script.tell(WorkEnded, reason="")
    return script
