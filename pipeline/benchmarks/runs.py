"""Runs to measure: planned, predicted and committed like any other, but no release is made from them."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pipeline.benchmarks.inputs import MADE_WITH
from pipeline.collection.gather import read_collection
from pipeline.config import RunConfig
from pipeline.replicas.progress import Progress
from pipeline.replicas.usage import ReplicaUsage
from pipeline.run import process
from pipeline.runs.run_file import open_run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimes:
    """The time a run took, and what its replicas used."""

    shards: int
    plan_s: float
    """Listing the images and planning."""
    work_s: float
    """From the start of the replicas to the last commit."""
    usage: list[ReplicaUsage]


def carry_out(config: RunConfig) -> RunTimes:
    """Make a run up to its last commit; every image has to be predicted."""
    started = time.perf_counter()
    samples = read_collection(config.input).samples
    specs, _ = open_run(config.out, samples, config.shard_size, MADE_WITH)
    planned = time.perf_counter()
    progress = Progress(len(samples), config.policy)
    usage = process(specs, config, progress)
    ended = time.perf_counter()
    assert progress.settled == len(samples), progress.decisions
    assert progress.decisions["failed"] == 0, progress.decisions
    return RunTimes(shards=len(specs), plan_s=planned - started, work_s=ended - planned, usage=usage)


@contextmanager
def cluster(*, wanted: bool, cores: int = 0) -> Iterator[None]:
    """Connect to Ray once for the whole block, if `wanted`.

    Args: cores: that the cluster pretends to have; 0: those of this machine.
    """
    if not wanted:
        yield
        return
    from pipeline.replicas.local_ray import local_ray
    from pipeline.replicas.on_ray.connection import connected

    with ExitStack() as held:
        if cores:
            os.environ["RAY_ADDRESS"] = held.enter_context(local_ray(cores)).address
        held.enter_context(connected())
        yield
