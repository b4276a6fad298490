"""A whole run, from annotations to release, as one numbered procedure."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

from model.checkpoint_facts import recommended_for
from pipeline.collection.collection import Collection
from pipeline.collection.frames import default_frame
from pipeline.collection.gather import read_collection
from pipeline.collection.kept import Kept
from pipeline.collection.usable import require_usable
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, ReleaseNotMadeError, UsageError, kept
from pipeline.files import urls
from pipeline.files.model_urls import origin_of
from pipeline.model_at_hand import OF_WEIGHTS, with_model_here
from pipeline.preflight import require_surroundings
from pipeline.progress.stages import stage
from pipeline.records import Sample, ShardSpec
from pipeline.release.attempt import refuse_leftovers
from pipeline.release.build import BuildReport, build_release, source_of, verdicts_of
from pipeline.release.contact_sheet import write_contact_sheet
from pipeline.release.identity import release_folder
from pipeline.release.passes import wanted_passes
from pipeline.release.preflight import is_released, refuse_foreign, refuse_taken_version, refuse_unbuildable
from pipeline.replicas.engine import failed_images, look_ahead, process_shards, todo_of
from pipeline.replicas.probes import take_probes
from pipeline.replicas.progress import Progress, working
from pipeline.replicas.proof import Expected
from pipeline.replicas.setup import ReplicaSetup
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.signals import waiting_for_storage
from pipeline.replicas.tasks import staying_connected
from pipeline.replicas.usage import ReplicaUsage
from pipeline.replicas.weights import weights_of
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.runs.fingerprint import digest_of, facts_of_model, fingerprint
from pipeline.runs.inputs import remember_inputs, remember_model
from pipeline.runs.lease import Lease
from pipeline.runs.locking import locked
from pipeline.runs.restore import restore_lost
from pipeline.runs.run_file import is_begun, open_run, plan_of
from pipeline.runs.sweep import sweep

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport(BuildReport):
    """How a run ended. All fields but `computed` and `images_per_s` depend on the inputs alone."""

    computed: int
    """Images computed in this session; the others come from earlier sessions."""
    images_per_s: float
    """Rate of this session, including the time to load the model; 0 if nothing was computed."""
    contact_sheet: str

    @property
    def failed_share(self) -> float:
        """Failed images per input image."""
        return sum(self.failed.values()) / self.images


def run(config: RunConfig) -> RunReport:
    """Carry out a run, or what is left of it.

    Raises: UsageError: the request can't be carried out; no image was computed.
            PipelineError: the run failed; run the same command again to resume.
    """
    config.check()
    require_surroundings(config)
    refuse_foreign(config.out)
    config = with_model_here(config)
    config.check(OF_WEIGHTS)
    # 1. Read the annotations and find every image.
    kept_findings = Kept(config.out)
    collection = read_inputs(config, kept_findings)
    # 2. Find out what the candidates will be made with.
    with stage("reading the weights' digests"):
        made_with = fingerprint(config)
    # 3. Refuse a request that could only fail after the work.
    refuse_unbuildable(config, collection)
    # 4. Lock the run for this session.
    with (
        staying_connected(config.cluster),
        locked(config.out) as lease,
        waiting_for_storage(config.cluster.storage_patience_s),
    ):
        return _carry_out(config, collection, made_with, lease, kept_findings)


def predict(config: RunConfig) -> None:
    """Carry out a run up to its candidates, or what is left of it; a single ensemble member is enough.

    Raises: as `run`.
    """
    require_surroundings(config)
    refuse_foreign(config.out)
    config = with_model_here(config)
    collection, made_with = read_inputs(config), fingerprint(config)
    with locked(config.out) as lease, waiting_for_storage(config.cluster.storage_patience_s):
        restore_lost(config.out, made_with)
        specs, _ = open_run(
            config.out, collection.samples, config.shard_size, made_with, accept_mixed=config.accept_mixed
        )
        remember_inputs(config.out, config.input)
        progress = Progress(len(collection.samples), config.policy)
        todo = todo_of(config.out, specs, progress, retry_failed=config.retry_failed)
        with working(progress):
            process(todo, config, progress, lease.check, made_with)
        lease.confirm()
        sweep(config.out, read_shard_records(config.out, [spec.name for spec in specs]))


def _carry_out(
    config: RunConfig, collection: Collection, made_with: Mapping[str, str], lease: Lease, kept_findings: Kept
) -> RunReport:
    restore_lost(config.out, made_with)
    # 5. Refuse a version that is taken, before anything else is written.
    check_version(config, collection, made_with)
    # 6. Let every node look at what it needs, before the first session writes anything.
    setup = setup_of(config, collection.samples, made_with, lease.file)
    findings = None if is_begun(config.out) else look_ahead(setup, config.cluster)
    # 7. Cut the plan and store it with the fingerprint before any work, or compare both with the stored ones.
    specs, whole_fingerprint = open_run(
        config.out, collection.samples, config.shard_size, made_with, accept_mixed=config.accept_mixed
    )
    remember_inputs(config.out, config.input)
    recommended = recommended_for(config.ensemble, facts_of_model(config.model))
    remember_model(config.out, origin_of(config.model), made_with["weights"], recommended)
    kept_findings.write()
    # 8. Find the shards that are not committed.
    progress = Progress(len(collection.samples), config.policy)
    todo = todo_of(config.out, specs, progress, retry_failed=config.retry_failed)
    refuse_unscored(config, todo)
    # 9. Predict, score and commit the rest.
    try:
        process_shards(todo, setup, config.cluster, progress, lease.check, findings)
        images_per_s = progress.images_per_s() if todo else 0.0
        source = source_of(config, collection, specs)
        # 10. Remove what killed sessions left.
        lease.confirm()
        sweep(config.out, source.records)
        # 11. Decide on every image, and assemble the release.
        with kept(progress.kept):
            built = build_release(source, config, whole_fingerprint, lease.confirm)
    except UsageError as error:
        if progress.computed:  # "no work was begun" is no longer true
            raise ReleaseNotMadeError(f"{error}. {_kept(config, progress)}") from error
        raise
    # 12. Draw a picture to look at.
    with stage("drawing the contact sheet"):
        contact_sheet = write_contact_sheet(source, verdicts_of(built.release), config)
    return RunReport(
        **asdict(built), computed=progress.computed, images_per_s=images_per_s, contact_sheet=contact_sheet
    )


def _kept(config: RunConfig, progress: Progress) -> str:
    """What there is of a run whose release could not be made, and what to do with it."""
    if progress.settled < progress.images:
        return f"{progress.settled} of {progress.images} images are committed and stay"
    return (
        f"All {progress.images} images are computed and stay in {config.out}; nothing has to be computed again. Give "
        f"this command other options of policy and release, or run sod release build {config.out} with them"
    )


def refuse_unscored(config: RunConfig, todo: Sequence[ShardSpec]) -> None:
    """Refuse a release with scores of passes while images are left to compute: nothing can have scored those.

    Raises: ConfigError: such a release is requested.
    """
    if todo and (wanted := wanted_passes(config)):
        images = sum(len(spec.samples) for spec in todo)
        raise ConfigError(
            f"the release needs the score pass {next(iter(wanted))}, and {images} images of {config.out} are not "
            "computed yet. Run without its scores in the policy and without --passes, run sod score, then make "
            "this release with sod release build"
        )


def check_version(config: RunConfig, collection: Collection, made_with: Mapping[str, str]) -> None:
    """Refuse a release version that is taken by another release; nothing is written.

    Raises: ReleaseExistsError: it is taken. RunMismatchError: the run was made with something else.
    """
    if not is_released(config):  # then there is nothing to compare, and the plan is read only once
        refuse_leftovers(release_folder(config))
        return
    specs, whole, _ = plan_of(
        config.out, collection.samples, config.shard_size, made_with, accept_mixed=config.accept_mixed
    )
    committed = committed_shards(config.out)
    there = [spec for spec in specs if spec.name in committed]
    # Shards without a commit are usually computed to the same bytes (after a repair), and then the release is complete.
    retries = config.retry_failed and bool(failed_images(config.out, there))
    refuse_taken_version(config, collection, whole, retries=retries)


def resolved(config: RunConfig) -> RunConfig:
    """Make local paths absolute: replicas and submitted jobs have their own working directories."""
    inputs = replace(
        config.input,
        images=urls.absolute(config.input.images),
        annotations=urls.absolute(config.input.annotations) if config.input.annotations else "",
        metadata=urls.absolute(config.input.metadata) if config.input.metadata else "",
    )
    model = config.model
    if model.is_folder:
        model = replace(model, model=urls.absolute(model.model))
    release = config.release
    if release.previous:
        release = replace(release, previous=urls.absolute(release.previous))
    return replace(config, out=urls.absolute(config.out), input=inputs, model=model, release=release)


def read_inputs(config: RunConfig, kept: Kept | None = None) -> Collection:
    """Read the annotations, if there are any, and find the images; a few are read.

    Args:   kept: as for `read_collection`.
    Raises: UsageError: as `read_collection`, or no image can be used: then the place is wrong, not the images.
            StorageUnavailableError: the server of one of them can't be reached.
    """
    with stage("looking for the images"):
        collection = read_collection(config.input, kept)
        require_usable(collection, config.input)
    return collection


def process(
    todo: Sequence[ShardSpec],
    config: RunConfig,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
    made_with: Mapping[str, str] = MappingProxyType({}),
) -> list[ReplicaUsage]:
    """Predict, score and commit shards on the configured engine.

    Args:    check: called at least once per shard; what it raises ends the work.
             made_with: the fingerprint, which replicas prove; the shard records carry its digest.
    Returns: the memory and time used by each replica.
    Raises:  as `process_shard` and, on Ray, `run_on_ray`.
    """
    setup = setup_of(config, [sample for spec in todo for sample in spec.samples], made_with)
    return process_shards(todo, setup, config.cluster, progress, check)


def setup_of(
    config: RunConfig, samples: Sequence[Sample], made_with: Mapping[str, str], lock: str = ""
) -> ReplicaSetup:
    """What replicas of a run are made of. A few of its images are read, by which each proves that it sees them.

    Args:   lock: see `ShardWork`.
    Raises: OSError: as `take_probes`.
    """
    work = ShardWork(
        run=config.out,
        lock=lock,
        batch_images=config.ensemble.batch_images,
        max_image_bytes=config.input.max_image_bytes,
        max_image_pixels=config.input.max_image_pixels,
        default_frame=default_frame(config.input.orientation, annotated=bool(config.input.annotations)),
        made_with=digest_of(made_with) if made_with else "",
        storage_patience_s=config.cluster.storage_patience_s,
        accept_mixed=config.accept_mixed,
        keep_members=config.keep_members,
        retry_failed=config.retry_failed,
        probes=take_probes(samples, config.input.max_image_bytes),
    )
    return ReplicaSetup(
        model=config.model,
        ensemble=config.ensemble,
        policy=config.policy,
        work=work,
        expected=Expected.of(made_with, accept_mixed=config.accept_mixed),
        weights=weights_of(config.model, made_with.get("weights", "")),
    )
