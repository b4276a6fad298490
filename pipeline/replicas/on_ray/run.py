"""The shards of a run on a Ray cluster."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType

from pipeline.config import ClusterConfig
from pipeline.progress.words import amount
from pipeline.records import ShardSpec
from pipeline.replicas.dispatcher import Dispatcher
from pipeline.replicas.events import Watch
from pipeline.replicas.journal import collect
from pipeline.replicas.on_ray.connection import connected
from pipeline.replicas.on_ray.fleet import RayFleet
from pipeline.replicas.on_ray.model_source import model_source
from pipeline.replicas.on_ray.placement import keep_tasks_from, needs_of
from pipeline.replicas.progress import Progress
from pipeline.replicas.setup import Setup
from pipeline.replicas.signals import stop_flag
from pipeline.replicas.usage import ReplicaUsage

log = logging.getLogger(__name__)


def run_on_ray(
    specs: Sequence[ShardSpec],
    setup: Setup,
    cluster: ClusterConfig,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
    watches: Sequence[Watch] = (),
    unfit: Mapping[str, str] = MappingProxyType({}),
) -> list[ReplicaUsage]:
    """Process all `specs` with replicas on a Ray cluster.

    Args:    check: called several times a second; what it raises ends the run.
             watches: are told everything that happens.
             unfit: nodes that can't do the work → why.
    Returns: what the replicas that lived to the end used.
    Raises:  ConfigError: the model needs a GPU, and the cluster can't have one; or no node can do the work.
             Stopped: SIGTERM or SIGINT came; a shard that was not committed starts again in the next session.
             As `Dispatcher.run`.
    """
    with (
        connected(),
        stop_flag() as stop,
        model_source(setup) as read_chunk,
        progress.shown(cluster.progress_every_s) as shown,
        closing(RayFleet(setup, needs := needs_of(setup.model, cluster), read_chunk)) as fleet,
    ):
        if needs.needs_growth:
            log.info("the cluster has no GPU yet: its autoscaler is asked for some (--device cpu works without)")
        dispatcher = Dispatcher(
            specs,
            fleet,
            cluster,
            count=lambda result: progress.add_computed(result.rows, result.computed, result.seconds),
            show=lambda in_flight, rates: progress.show(shown, in_flight, rates),
            collect=lambda shards: collect(setup.work.run, shards),
            watches=watches,
        )
        for node, reason in unfit.items():
            dispatcher.set_aside(node, reason)
        shown.note(f"loading the model; {amount(len(specs), 'shards')} to do")
        dispatcher.run(stop.is_set, progress.stopped, check)
        keep_tasks_from(dispatcher.aside)
        return list(fleet.usage(dispatcher.replicas).values())
