"""A whole run, from annotations to release, as one numbered procedure."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from pipeline.collection.coco import Collection, read_samples
from pipeline.config import ClusterConfig, RunConfig
from pipeline.errors import CollectionError
from pipeline.files import urls
from pipeline.records import ShardSpec
from pipeline.release.build import BuildReport, build_release, source_of, verdicts_of
from pipeline.release.contact_sheet import write_contact_sheet
from pipeline.replicas.progress import Progress
from pipeline.replicas.usage import ReplicaUsage, in_words
from pipeline.replicas.work import ReplicaSetup, ShardWork, process_shard
from pipeline.runs.candidates import committed_shards, read_records
from pipeline.runs.fingerprint import fingerprint
from pipeline.runs.lease import Lease, held
from pipeline.runs.run_record import open_run, remember_inputs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport(BuildReport):
    """How a run ended. Everything but `computed` and `images_per_s` follows from the inputs alone."""

    computed: int
    """Images computed in this session; the others were there from an earlier one."""
    images_per_s: float
    """Of this session, loading of the model included; 0 when nothing was computed."""
    contact_sheet: str

    @property
    def failed_share(self) -> float:
        """Failed images per input image."""
        return sum(self.failed.values()) / self.images


def run(config: RunConfig) -> RunReport:
    """Carry out a run, or what is left of it.

    Raises: UsageError: the request can't be carried out as it is. PipelineError: it failed, and can be tried again.
    """
    # 1. Read the annotations and find every image.
    collection = read_inputs(config)
    # 2. Find out what the candidates will be made with.
    made_with = fingerprint(config)
    # 3. Have the run for this session alone.
    with held(config.out) as lease:
        return _carry_out(config, collection, made_with, lease)


def _carry_out(config: RunConfig, collection: Collection, made_with: Mapping[str, str], lease: Lease) -> RunReport:
    # 4. Cut the plan and store it with the fingerprint before any work, or compare them with what is stored.
    specs, whole_fingerprint = open_run(config.out, collection.samples, config.shard_size, made_with)
    remember_inputs(config.out, config.input)
    # 5. See what is committed already.
    progress = Progress(len(collection.samples), config.policy)
    todo = todo_of(config, specs, progress)
    # 6. Predict, score and commit the rest.
    process(todo, config, progress, lease.check)
    images_per_s = progress.images_per_s() if todo else 0.0
    # 7. Decide on every image, and assemble the release.
    source = source_of(config, collection, specs)
    built = build_release(source, config, whole_fingerprint, lease.confirm)
    # 8. Draw a picture to look at.
    contact_sheet = write_contact_sheet(source, verdicts_of(built.release), config)
    return RunReport(
        **asdict(built), computed=progress.computed, images_per_s=images_per_s, contact_sheet=contact_sheet
    )


def resolved(config: RunConfig) -> RunConfig:
    """Local paths made absolute: replicas and submitted jobs have working directories of their own."""
    inputs = replace(
        config.input,
        images=urls.absolute(config.input.images),
        annotations=urls.absolute(config.input.annotations),
    )
    model = config.model
    if model.is_folder:
        model = replace(model, model=urls.absolute(model.model))
    release = config.release
    if release.previous:
        release = replace(release, previous=urls.absolute(release.previous))
    return replace(config, out=urls.absolute(config.out), input=inputs, model=model, release=release)


def read_inputs(config: RunConfig) -> Collection:
    """The images that the annotations list.

    Raises: UsageError: as `read_samples`; or not one image is there: then the folder is wrong, not the images.
    """
    collection = read_samples(config.input.annotations, config.input.images)
    if all(sample.problem == "missing" for sample in collection.samples):
        raise CollectionError(
            f"--images {config.input.images}: none of the {len(collection.samples)} images of "
            f"{config.input.annotations} is there, {collection.samples[0].file_name!r} for example; give their folder"
        )
    return collection


def todo_of(config: RunConfig, specs: Sequence[ShardSpec], progress: Progress) -> list[ShardSpec]:
    """Shards without a record; with `retry_failed` those too that have a failed image."""
    committed = committed_shards(config.out)
    there = [spec for spec in specs if spec.name in committed]
    if there:
        images = sum(len(spec.samples) for spec in there)
        log.info("resuming: %d of %d images are there from an earlier session", images, progress.images)
    # Records are read only where they decide: of 100,000 shards that takes several times as long as all the rest.
    failed = _failed_images(config.out, there) if config.retry_failed else {}
    if failed:
        log.info("trying %d failed images again", sum(failed.values()))
    progress.add_earlier(sum(len(spec.samples) for spec in there if spec.name not in failed))
    return [spec for spec in specs if spec.name not in committed or spec.name in failed]


def _failed_images(run: str, specs: Sequence[ShardSpec]) -> dict[str, int]:
    """Shard → number of its failed images, of committed shards that have any."""
    records = read_records(run, [spec.name for spec in specs])
    return {name: record.failed for name, record in records.items() if record.failed}


def process(
    todo: Sequence[ShardSpec], config: RunConfig, progress: Progress, check: Callable[[], None] = lambda: None
) -> list[ReplicaUsage]:
    """Predict, score and commit shards where the configuration says.

    Args:    check: called between shards and more often; what it raises ends the work.
    Returns: what each replica used.
    Raises:  as `process_shard` and, on Ray, `run_on_ray`.
    """
    if not todo:
        log.info("nothing to compute: every image has been predicted")
        return []
    work = ShardWork(
        run=config.out,
        batch_images=config.ensemble.batch_images,
        max_image_bytes=config.input.max_image_bytes,
        max_image_pixels=config.input.max_image_pixels,
        retry_failed=config.retry_failed,
    )
    setup = ReplicaSetup(model=config.model, ensemble=config.ensemble, policy=config.policy, work=work)
    if config.cluster.engine == "inline":
        usage = [_run_inline(todo, setup, config.cluster, progress, check)]
    else:
        from pipeline.replicas.cluster import run_on_ray

        usage = run_on_ray(todo, setup, config.cluster, progress, check)
    if usage:
        log.info("%s", in_words(usage))
    return usage


def _run_inline(
    todo: Sequence[ShardSpec],
    setup: ReplicaSetup,
    cluster: ClusterConfig,
    progress: Progress,
    check: Callable[[], None],
) -> ReplicaUsage:
    """One shard after the other in this process: for tests, a debugger, a machine without Ray.

    Raises: Stopped: Ctrl-C. At any moment, even within a shard: nothing of it is there before its record is.
    """
    try:
        model = setup.load()
        for spec in todo:
            check()
            result = process_shard(spec, model, setup.work)
            progress.add_computed(result.rows, result.computed, result.seconds)
            if progress.is_due(cluster.progress_every_s):
                log.info("%s", progress.line())
        return model.usage()
    except KeyboardInterrupt as interrupt:
        raise progress.stopped() from interrupt
