"""What of a summary is told as metrics: names, kinds and values. Pure; `replicas/on_ray/metrics.py` hands them to Ray.

Ray puts `ray_` before each name. Every metric has the tag `run`, so that runs on one cluster are told apart.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.watching.summary import STATES, ReplicaSummary, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric as Prometheus knows it."""

    kind: Literal["gauge", "counter"]
    """A gauge has a value now; a counter says how much more it has become."""
    meaning: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The value of a metric with these tags."""

    name: str
    value: float
    tags: Mapping[str, str] = field(default_factory=dict)


def _gauge(meaning: str, *tags: str) -> Metric:
    return Metric(kind="gauge", meaning=meaning, tags=tags)


def _counter(meaning: str, *tags: str) -> Metric:
    return Metric(kind="counter", meaning=meaning, tags=tags)


_OF_REPLICA = ("replica", "node")
METRICS: Mapping[str, Metric] = {
    "sod_images_planned": _gauge("Images of the run"),
    "sod_images_settled": _gauge("Images in committed shards, those of earlier sessions included"),
    "sod_images_in_flight": _gauge("Images finished in shards that are not committed"),
    "sod_images_committed_total": _counter("Images committed in this session, by verdict", "verdict"),
    "sod_images_failed_total": _counter("Images that failed in this session, by reason", "reason"),
    "sod_images_per_s": _gauge("Images finished per second, in the last minute"),
    "sod_time_left_s": _gauge("Seconds until all is done; -1 while that can't be told"),
    "sod_shards": _gauge("Shards that were left when the session began: done, in_work, waiting", "state"),
    "sod_replicas": _gauge("Replicas: asked (for a place), loading, idle, working", "state"),
    "sod_nodes": _gauge("Nodes: there, draining, left, set_aside", "state"),
    "sod_replica_deaths_total": _counter("Replicas that are no more, by cause", "cause"),
    "sod_shard_retries_total": _counter("Shards that came back to the queue, by cause", "cause"),
    "sod_storage_errors_total": _counter("Failed calls of a storage, each of which was tried again"),
    "sod_storage_away_s": _gauge("For how long a storage has not responded; 0: it responds"),
    "sod_replica_images_per_s": _gauge("Images per second of a replica", *_OF_REPLICA),
    "sod_replica_working_share": _gauge("Share of its time in which a replica's model works, 0 to 1", *_OF_REPLICA),
    "sod_replica_waiting_share": _gauge("Share of its time in which a replica waits for images, 0 to 1", *_OF_REPLICA),
    "sod_replica_rss_bytes": _gauge("The most memory that a replica's process has held", *_OF_REPLICA),
    "sod_replica_device_bytes": _gauge("The most memory that a replica has held on its GPU", *_OF_REPLICA),
    "sod_replica_batch_images": _gauge("Images in the last batch at a replica's model", *_OF_REPLICA),
}
"""By name. A counter's name ends in `_total`."""


def samples(summary: Summary) -> Iterator[Sample]:
    """The values of all metrics; those of counters since the session began."""
    yield Sample(name="sod_images_planned", value=summary.images)
    yield Sample(name="sod_images_settled", value=summary.settled)
    yield Sample(name="sod_images_in_flight", value=summary.in_flight)
    yield from _by("sod_images_committed_total", "verdict", summary.outcomes)
    yield from _by("sod_images_failed_total", "reason", summary.failures)
    yield Sample(name="sod_images_per_s", value=summary.per_s if summary.ended_s is None else 0.0)
    yield Sample(name="sod_time_left_s", value=-1.0 if summary.left_s is None else summary.left_s)
    shards = {"done": summary.shards_done, "in_work": summary.shards_in_work, "waiting": summary.shards_waiting}
    yield from _by("sod_shards", "state", shards)
    living = summary.living if summary.ended_s is None else ()
    yield from _by("sod_replicas", "state", _counted(STATES, (replica.state for replica in living)))
    states = (node.state.replace(" ", "_") for node in summary.nodes)
    yield from _by("sod_nodes", "state", _counted(("there", "draining", "left", "set_aside"), states))
    yield from _by("sod_replica_deaths_total", "cause", summary.deaths)
    yield from _by("sod_shard_retries_total", "cause", summary.retries)
    yield Sample(name="sod_storage_errors_total", value=summary.storage_errors)
    yield Sample(name="sod_storage_away_s", value=summary.storage_away_s)
    for replica in living:
        if replica.node:
            yield from _of_replica(replica)


def _of_replica(replica: ReplicaSummary) -> Iterator[Sample]:
    tags = {"replica": replica.name, "node": replica.node}
    values = {
        "images_per_s": replica.per_s,
        "working_share": replica.working_share,
        "waiting_share": replica.waiting_share,
        "rss_bytes": replica.pulse.rss_bytes,
        "device_bytes": replica.pulse.device_bytes,
        "batch_images": replica.pulse.batch_images,
    }
    for name, value in values.items():
        yield Sample(name=f"sod_replica_{name}", value=value or 0.0, tags=tags)


def _by(name: str, tag: str, counts: Mapping[str, int]) -> Iterator[Sample]:
    for value, count in counts.items():
        yield Sample(name=name, value=count, tags={tag: value})


def _counted(states: Iterable[str], found: Iterable[str]) -> dict[str, int]:
    counts = dict.fromkeys(states, 0)
    for state in found:
        counts[state] += 1
    return counts
