"""Forecast what a run will take, before it begins or between sessions. Nothing of the run is written.

The time comes from a pilot: a replica predicts a few of the remaining images into a new folder beside the run's files,
which is removed afterwards.
The storage comes from the committed shards, or from the pilot's if there are none.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.collection.kept import Kept
from pipeline.config import RunConfig
from pipeline.files import local_disk, storage, urls
from pipeline.files.trials import require_exclusive_create
from pipeline.model_at_hand import OF_WEIGHTS, with_model_here
from pipeline.preflight import require_surroundings
from pipeline.records import Sample, ShardRecord, ShardSpec
from pipeline.release.preflight import refuse_foreign, refuse_unbuildable
from pipeline.replicas.progress import Progress
from pipeline.run import check_version, process, read_inputs
from pipeline.runs.commits import committed_shards, read_shard_record, read_shard_records
from pipeline.runs.fingerprint import fingerprint
from pipeline.runs.run_file import plan_of

Work = Callable[[Sequence[ShardSpec], RunConfig, Progress], object]
"""Processes shards into a configuration's run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The state of a run, and what is left to do."""

    fingerprint: dict[str, str]
    images: int
    shards: int
    committed: int
    """Images in committed shards, including failed ones."""
    failed: int
    """Committed images that failed."""
    retried: int
    """Failed images that would be retried."""
    added: int
    """Images in the annotations that the run does not have yet."""
    pilot_images: int
    """Images predicted for the measurement; 0 if none, and then there are no times."""
    replica_s_per_image: float
    """A replica's time per image, including reading and writing, but not loading the model."""
    bytes_per_image: float
    """Size of the candidates, without the release; 0 if unknown."""

    @property
    def left(self) -> int:
        """Images to compute."""
        return self.images - self.committed + self.retried

    @property
    def replica_hours(self) -> float:
        """Hours of one replica for the remaining images; GPU-hours on a cluster with GPUs."""
        return self.left * self.replica_s_per_image / 3600

    @property
    def candidate_bytes(self) -> float:
        """Size of all candidates once the run is complete."""
        return self.images * self.bytes_per_image


def forecast(config: RunConfig, work: Work = process) -> Forecast:
    """Inspect a run and predict some of its images. Refuses what `pipeline.run.run` would refuse.

    Args:   work: processes the pilot's shards.
    Raises: UsageError: the run would be refused. PipelineError: the pilot failed.
    """
    config.check()
    require_surroundings(config)
    refuse_foreign(config.out)
    config = with_model_here(config)
    config.check(OF_WEIGHTS)
    collection = read_inputs(config, Kept(config.out))
    require_exclusive_create(config.out)
    made_with = fingerprint(config)
    refuse_unbuildable(config, collection)
    check_version(config, collection, made_with)
    specs, whole, added = plan_of(
        config.out, collection.samples, config.shard_size, made_with, accept_mixed=config.accept_mixed
    )
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
    """Pick `count` samples, evenly spread: images from one source often lie together."""
    count = min(count, len(samples))
    return [samples[place * len(samples) // count] for place in range(count)]


def _pilot(samples: Sequence[Sample], config: RunConfig, work: Work) -> tuple[int, list[ShardRecord], float]:
    """Predict the samples. Returns their number, the records of their shards, and a replica's seconds per image.

    The first batch warms up and is not timed.
    """
    if not samples:
        return 0, [], 0.0
    warm = min(config.ensemble.batch_images, len(samples) // 2)
    parts = [part for part in (samples[:warm], samples[warm:]) if part]
    specs = [ShardSpec(index=index, samples=tuple(part)) for index, part in enumerate(parts)]
    progress = Progress(len(samples), config.policy)
    alone = replace(config.cluster, replicas=1, min_replicas=1, max_replicas=0)
    with temporary_folder(config.out) as url:
        work(specs, replace(config, out=url, cluster=alone), progress)
        records = [read_shard_record(url, spec.name) for spec in specs]
    return len(samples), records, progress.last_s / len(parts[-1])


@contextmanager
def temporary_folder(url: str) -> Iterator[str]:
    """A new folder in a folder, removed after the block with all that the block wrote, and with folders made for it."""
    place = storage.join(urls.absolute(url), local_disk.unfinished_name("pilot"))
    made = []
    if urls.is_local(place):
        made = [folder for folder in Path(place).parents if not folder.exists()]
        Path(place).mkdir(parents=True)
    try:
        yield place
    finally:
        storage.remove_tree(place)
        for folder in made:
            with suppress(OSError):  # somebody else has put something there
                folder.rmdir()


def _bytes_per_image(records: Sequence[ShardRecord]) -> float:
    images = sum(record.done + record.failed for record in records)
    return sum(file.file_bytes for record in records for file in record.files) / images if images else 0.0
