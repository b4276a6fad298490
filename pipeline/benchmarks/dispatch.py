"""How fast the dispatcher is by itself: thousands of replicas on a scripted cluster, whose nodes come and go."""

import gc
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from model.config import at_least
from pipeline.benchmarks.benchmark import Case, Result, at_least_one, table_head
from pipeline.config import ClusterConfig

if TYPE_CHECKING:
    from pipeline.benchmarks.cluster_script import Act

REPLICAS_PER_NODE = 8
_LOSSES: tuple[Literal["unplug", "shutdown", "drain"], ...] = ("unplug", "shutdown", "drain")
TROUBLE_EVERY_S = 60.0
"""Simulated seconds between two events of a cluster of a thousand replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """What the dispatcher costs: the real one, with replicas, nodes and a clock that are a script. Nodes join, drain,
    lose their power and are preempted all the time."""

    shards: tuple[int, ...] = (1_000, 10_000, 200_000)
    """Numbers of shards."""
    replicas: int = 1_000
    """Replicas that there is room for, on nodes of 8."""
    shard_images: int = 64
    """Images per shard; a run's default."""
    shard_s: float = 60.0
    """Simulated seconds at the model per shard."""

    def __post_init__(self) -> None:
        at_least_one(self, "shards", "shard_images")
        at_least(self, REPLICAS_PER_NODE, "replicas")

    def cases(self) -> list[Case]:
        """One case per number of shards."""
        common = {"replicas": self.replicas, "shard_images": self.shard_images, "shard_s": self.shard_s}
        return [{"shards": shards, **common} for shards in self.shards]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head(
            "shards", "replicas", "simulated", "nodes lost", "returned shards", "dispatched", "per shard", "memory"
        )
        for result in results:
            shards = result["shards"]
            yield (
                f"| {shards:,} | {result['replicas']:,} | {result['simulated_s'] / 3600:.2f} h "
                f"| {result['nodes_lost']:,} | {result['returned']:,} | {shards / result['seconds']:,.0f} shards/s "
                f"| {1e6 * result['seconds'] / shards:.0f} µs "
                f"| {result['bytes'] / shards / result['shard_images']:.1f} B per image |"
            )


def measure(folder: Path, *, shards: int, replicas: int, shard_images: int, shard_s: float) -> dict[str, Any]:
    """Dispatch all shards. The time is that of dispatcher and simulator together.

    `bytes`: the most that both hold beyond the plan, from a second, slower run.
    """
    seconds, told = _dispatch(shards, replicas, shard_images, shard_s)
    gc.collect()
    tracemalloc.start()
    _dispatch(shards, replicas, shard_images, shard_s)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "shards": shards,
        "replicas": replicas,
        "shard_images": shard_images,
        "seconds": seconds,
        "bytes": held,
        **told,
    }


def _dispatch(shards: int, replicas: int, shard_images: int, shard_s: float) -> tuple[float, dict[str, float]]:
    from pipeline.benchmarks.simulated_fleet import SimulatedFleet
    from pipeline.errors import Stopped
    from pipeline.records import Sample, ShardSpec
    from pipeline.replicas import events
    from pipeline.replicas.dispatcher import Dispatcher

    sample = Sample(key="0" * 12, image_id=1, file_name="", width=1, height=1, license_id=1, location=None)
    specs = [ShardSpec(index=index, samples=(sample,) * shard_images) for index in range(shards)]
    fleet = SimulatedFleet(_script(replicas, shards * shard_s / replicas), shard_s=shard_s)
    counts = {events.NodeLeft: 0, events.ShardReturned: 0, events.ShardCommitted: 0}

    def watch(event: events.Event) -> None:
        if type(event) in counts:
            counts[type(event)] += 1

    dispatcher = Dispatcher(
        specs,
        fleet,
        ClusterConfig(),
        count=lambda result: {"done": result.computed},
        show=lambda in_flight, rates: None,
        collect=fleet.collect,
        watches=[watch],
    )
    began = time.perf_counter()
    dispatcher.run(lambda: False, lambda: Stopped(""), lambda: None)
    seconds = time.perf_counter() - began
    assert counts[events.ShardCommitted] == shards
    return seconds, {
        "simulated_s": fleet.now_s(),
        "nodes_lost": counts[events.NodeLeft],
        "returned": counts[events.ShardReturned],
    }


def _script(replicas: int, work_s: float) -> "list[Act]":
    """All nodes join at once; from then on one is lost now and then, and another one joins."""
    from pipeline.benchmarks.cluster_script import Act

    nodes = replicas // REPLICAS_PER_NODE
    script = [Act(at_s=0, what="join", node=f"node-{number}", amount=REPLICAS_PER_NODE) for number in range(nodes)]
    random, at_s, number = Random(1), 0.0, nodes
    while (at_s := at_s + TROUBLE_EVERY_S * 1000 / replicas) < work_s:
        what = random.choice(_LOSSES)
        script.append(Act(at_s=at_s, what=what, node=f"node-{random.randrange(number)}"))  # it may be gone already
        script.append(Act(at_s=at_s + 120, what="join", node=f"node-{number}", amount=REPLICAS_PER_NODE))
        number += 1
    return script
