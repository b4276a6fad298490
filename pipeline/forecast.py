"""What a run will take, before it is begun or while it rests: nothing of the run is written.

Time comes from a pilot: a few of the images that are left, through a replica like any other, in a folder that is
removed again. Storage comes from the shards that are committed, else from the pilot's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.config import RunConfig
from pipeline.files import storage
from pipeline.records import Sample, ShardRecord, ShardSpec
from pipeline.replicas.progress import Progress
from pipeline.run import process, read_inputs
from pipeline.runs.candidates import committed_shards, read_shard_record, read_shard_records
from pipeline.runs.fingerprint import fingerprint
from pipeline.runs.run_file import plan_of

Work = Callable[[Sequence[ShardSpec], RunConfig, Progress], object]
"""Processes shards into the run of a configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A run as it is, and what is left of it."""

    fingerprint: dict[str, str]
    images: int
    shards: int
    committed: int
    """Images in committed shards, failed ones among them."""
    failed: int
    """Images that failed, of the committed ones."""
    retried: int
    """Failed images that would be tried again."""
    added: int
    """Images that are new to the run."""
    pilot_images: int
    """Images that were predicted to measure; 0 if none was, and then there are no times."""
    replica_s_per_image: float
    """Time of a replica per image, reading and writing among it, loading of the model not."""
    bytes_per_image: float
    """Of the candidates, without the release; 0 if nothing is known."""

    @property
    def left(self) -> int:
        """Images to compute."""
        return self.images - self.committed + self.retried

    @property
    def replica_hours(self) -> float:
        """For what is left; on a cluster with GPUs these are GPU-hours."""
        return self.left * self.replica_s_per_image / 3600

    @property
    def candidate_bytes(self) -> float:
        """Of the whole run, when it is done."""
        return self.images * self.bytes_per_image


def forecast(config: RunConfig, work: Work = process) -> Forecast:
    """Look at a run and try some of its images; as `pipeline.run.run` would begin, with the same refusals.

    Args:   work: how shards are processed in this configuration.
    Raises: UsageError: the run would be refused. PipelineError: the pilot failed.
    """
    collection = read_inputs(config)
    specs, whole, added = plan_of(config.out, collection.samples, config.shard_size, fingerprint(config))
    names = committed_shards(config.out)
    records = list(read_shard_records(config.out, [spec.name for spec in specs if spec.name in names]).values())
    left = [sample for spec in specs if spec.name not in names for sample in spec.samples]
    pilot, pilot_records, seconds = _pilot(_spread(left, config.pilot_images), config, work)
    failed = sum(record.failed for record in records)
    return Forecast(
        fingerprint=whole,
        images=len(collection.samples),
        shards=len(specs),
        committed=len(collection.samples) - len(left),
        failed=failed,
        retried=failed if config.retry_failed else 0,
        added=sum(len(spec.samples) for spec in added) if records else 0,
        pilot_images=pilot,
        replica_s_per_image=seconds,
        bytes_per_image=_bytes_per_image(records or pilot_records),
    )


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """`count` of them, evenly spread: images of one source often lie together."""
    count = min(count, len(samples))
    return [samples[place * len(samples) // count] for place in range(count)]


def _pilot(samples: Sequence[Sample], config: RunConfig, work: Work) -> tuple[int, list[ShardRecord], float]:
    """Images tried, records of their shards, and seconds of a replica per image; the first batch warms up."""
    if not samples:
        return 0, [], 0.0
    warm = min(config.ensemble.batch_images, len(samples) // 2)
    parts = [part for part in (samples[:warm], samples[warm:]) if part]
    specs = [ShardSpec(index=index, samples=tuple(part)) for index, part in enumerate(parts)]
    url = storage.join(config.out, "pilot")
    progress = Progress(len(samples), config.policy)
    tried = replace(config, out=url, cluster=replace(config.cluster, replicas=1))
    try:
        work(specs, tried, progress)
        records = [read_shard_record(url, spec.name) for spec in specs]
    finally:
        storage.remove_tree(url)
        storage.remove_if_empty(config.out)  # it is, unless there is a run, or somebody begins one now
    return len(samples), records, progress.last_s / len(parts[-1])


def _bytes_per_image(records: Sequence[ShardRecord]) -> float:
    images = sum(record.done + record.failed for record in records)
    return sum(record.tar.file_bytes + record.rows.file_bytes for record in records) / images if images else 0.0
