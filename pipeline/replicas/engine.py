"""Carries out shards on the configured engine, Ray or this process; finds those that are left to do."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count

from pipeline.config import ClusterConfig
from pipeline.errors import Stopped, kept
from pipeline.preconditions import has_cluster
from pipeline.progress.stages import stage
from pipeline.records import ShardSpec
from pipeline.replicas.canary import Finding, lacking, refuse_if_none
from pipeline.replicas.events import Watch, WorkBegan
from pipeline.replicas.one_replica import OneReplica
from pipeline.replicas.progress import Progress
from pipeline.replicas.setup import Setup
from pipeline.replicas.shards import Shared
from pipeline.replicas.signals import stop_flag_then_interrupt
from pipeline.replicas.suspects import Caution
from pipeline.replicas.tasks import staying_connected
from pipeline.replicas.usage import ReplicaUsage, in_words
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.watching.watch import Watching, watched

log = logging.getLogger(__name__)


def todo_of(
    run: str,
    specs: Sequence[ShardSpec],
    progress: Progress,
    *,
    retry_failed: bool = False,
    outdated: Collection[str] = (),
) -> list[ShardSpec]:
    """Shards without a record; with `retry_failed`, also those with a failed image.

    Args: run: the folder of a run or of a score pass.
          outdated: names of shards that have to be computed again.
    """
    committed = committed_shards(run)
    there = [spec for spec in specs if spec.name in committed and spec.name not in outdated]
    if there:
        images = sum(len(spec.samples) for spec in there)
        log.info("resuming: %d of %d images were computed by earlier sessions", images, progress.images)
    # Read records only if they matter: for 100,000 shards that takes several times as long as everything else.
    failed = failed_images(run, there) if retry_failed else {}
    if failed:
        log.info("retrying %d failed images", sum(failed.values()))
    progress.add_earlier(sum(len(spec.samples) for spec in there if spec.name not in failed))
    settled = {spec.name for spec in there} - failed.keys()
    return [spec for spec in specs if spec.name not in settled]


def failed_images(run: str, specs: Sequence[ShardSpec]) -> dict[str, int]:
    """Map each committed shard that has failed images to their number."""
    records = read_shard_records(run, [spec.name for spec in specs])
    return {name: record.failed for name, record in records.items() if record.failed}


def look_ahead(setup: Setup, cluster: ClusterConfig) -> list[Finding]:
    """Let every node of the cluster look at what this work needs.

    Returns: what they have found; [] of a cluster that is started for the work, as this machine has seen everything.
    Raises:  ConfigError: no node can do the work; the message has a table of what each lacks, and what to do.
             As `look_from_nodes`.
    """
    if cluster.engine != "ray" or not has_cluster():
        return []
    from pipeline.replicas.on_ray.canaries import look_from_nodes

    findings = look_from_nodes(setup, cluster)
    refuse_if_none(findings)
    return findings


def process_shards(
    todo: Sequence[ShardSpec],
    setup: Setup,
    cluster: ClusterConfig,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
    findings: Sequence[Finding] | None = None,
) -> list[ReplicaUsage]:
    """Carry out shards on the configured engine.

    Args:    check: called at least once per shard; what it raises ends the work.
             findings: what the nodes of a cluster have found about themselves; None: they are asked now.
    Returns: the memory and time used by each replica.
    Raises:  as `carry_out` and, on Ray, `look_ahead` and `run_on_ray`.
    """
    if not todo:
        log.info("nothing to compute: every image is done")
        return []
    with staying_connected(cluster):
        usage = _process(todo, setup, cluster, progress, check, findings)
    if usage:
        log.info("%s", in_words(usage))
    return usage


def _process(
    todo: Sequence[ShardSpec],
    setup: Setup,
    cluster: ClusterConfig,
    progress: Progress,
    check: Callable[[], None],
    findings: Sequence[Finding] | None,
) -> list[ReplicaUsage]:
    is_inline, report = cluster.engine == "inline", None
    unfit: Mapping[str, str] = {}
    if not is_inline:
        with stage("loading Ray"):
            from pipeline.replicas.on_ray.metrics import Metrics
            from pipeline.replicas.on_ray.run import run_on_ray
        report = Metrics(setup.work.run)
        unfit = lacking(look_ahead(setup, cluster) if findings is None else findings)
    watching = Watching(every_s=cluster.live_every_s, policy=progress.policy, report=report)
    with kept(progress.kept), watched(setup.work.run, watching) as watch:
        watch(WorkBegan(images=progress.images, settled=progress.settled, shards=len(todo)))
        if is_inline:
            return [_process_inline(todo, setup, cluster, progress, check, watch)]
        return run_on_ray(todo, setup, cluster, progress, check, [watch], unfit)


def _process_inline(
    todo: Sequence[ShardSpec],
    setup: Setup,
    cluster: ClusterConfig,
    progress: Progress,
    check: Callable[[], None],
    watch: Watch,
) -> ReplicaUsage:
    """Process one shard after another in this process: for tests, a debugger, or a machine without Ray.

    Raises: Stopped: SIGTERM or SIGINT came. A shard that is cut off leaves nothing that counts: its record comes last.
    """
    try:
        with stop_flag_then_interrupt() as stop:

            def stop_if_asked() -> None:
                if stop.is_set():
                    raise progress.stopped()

            told = OneReplica(watch)
            with stage("loading the model"):
                loaded = setup.load()
            told.ready(loaded)
            with progress.shown(cluster.progress_every_s) as shown:
                for place, spec in enumerate(todo):
                    check()
                    stop_if_asked()
                    told.begun(spec, waiting=len(todo) - place - 1)
                    finished = count(1)

                    def on_image(_key: str, finished: Iterator[int] = finished) -> None:
                        progress.show(shown, in_flight=next(finished))
                        told.finished_an_image()
                        stop_if_asked()

                    result = loaded.process(spec, Caution(), Shared(on_image=on_image))
                    told.committed(result, progress.add_computed(result.rows, result.computed, result.seconds))
                    progress.show(shown)
            return loaded.usage()
    except (KeyboardInterrupt, Stopped) as interrupt:
        raise progress.stopped() from interrupt
