"""A whole score pass over a run, as one numbered procedure."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from model.config import ModelConfig
from pipeline.collection.collection import Collection
from pipeline.collection.config import InputConfig
from pipeline.collection.frames import default_frame
from pipeline.collection.gather import read_collection
from pipeline.collection.usable import require_usable
from pipeline.errors import CollectionError, ConfigError, StorageError
from pipeline.files.model_urls import at_hand
from pipeline.passes.building import builds_on
from pipeline.passes.config import PassConfig
from pipeline.passes.folder import PassDocument, check_name, is_begun, outdated, pass_folder, read_document, read_pass
from pipeline.passes.known import PASSES, PassSpec, is_own, source_of
from pipeline.passes.loading import load_pass, said, try_out
from pipeline.passes.opening import open_pass, refuse_other
from pipeline.passes.reports import write_report
from pipeline.passes.rows import FOLDER
from pipeline.passes.score_pass import PassContext
from pipeline.passes.scoring import PassSetup
from pipeline.precision import with_precision
from pipeline.progress.stages import stage
from pipeline.records import Sample, ShardSpec
from pipeline.replicas.engine import look_ahead, process_shards, todo_of
from pipeline.replicas.probes import take_probes
from pipeline.replicas.progress import Progress, working
from pipeline.replicas.proof import Expected
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.signals import waiting_for_storage
from pipeline.replicas.tasks import staying_connected
from pipeline.replicas.weights import Weights, weights_of
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.runs.fingerprint import code_sha256, model_fields, processing_res_in
from pipeline.runs.inputs import remembered_inputs, require_whole
from pipeline.runs.lease import refuse_busy
from pipeline.runs.locking import locked
from pipeline.runs.machine import LIBRARIES, library_versions
from pipeline.runs.run_file import read_run, with_present_samples
from pipeline.runs.sweep import sweep
from pipeline.selection.columns import Column, owned

log = logging.getLogger(__name__)

SHARED_CODE = ("passes/loading.py", "passes/rows.py", "passes/score_pass.py", "passes/scoring.py")
"""Modules of `pipeline/` that decide the values of every pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassReport:
    """How a pass ended."""

    name: str
    folder: str
    images: int
    """Of the run's plan."""
    scored: int
    failed: int
    """Images without values: those that failed in the run, and those that could not be scored."""
    not_predicted: int
    """Images that the run has not computed yet; run the pass again after the run."""
    computed: int
    """Images scored in this session."""
    images_per_s: float
    columns: tuple[str, ...]


def score_run(config: PassConfig, options: Any = None) -> PassReport:
    """Add the scores of a pass to a run, or what is left of them.

    Args:   options: an instance of the pass's dataclass of options; None if it has none.
    Raises: UsageError: the request can't be carried out; nothing was scored.
            PipelineError: the pass failed; run the same command again to resume.
    """
    name, folder = check_name(config.called), pass_folder(config.run, config.called)
    config = replace(config, model=with_precision(at_hand(config.model), _begun_with(config.run, name)))
    # 1. Find the run's images, as they were planned or where they are now.
    with stage("reading the run"):
        made_with, planned = read_run(config.run)
    refuse_busy(config.run)
    inputs = _inputs(config)
    records = read_shard_records(config.run, sorted(committed_shards(config.run).keys() & {s.name for s in planned}))
    if not records:
        raise CollectionError(f"{config.run}: nothing of this run is computed yet, so there is nothing to score")
    # 2. Make the pass once, so that whatever it refuses is refused before any work.
    spec = PassSpec(kind=config.kind, options=options, source=source_of(config.kind) if is_own(config.kind) else "")
    context = PassContext(name=name, run=config.run, made_with=made_with, model=config.model)
    with stage(f"preparing the pass {name}"):
        scorer = load_pass(spec, context)
        try_out(spec, context)
    columns = owned(scorer.columns, name)
    needs = PASSES[config.kind].needed(options) if config.kind in PASSES else ()
    needed = _needed(config, needs, records)
    document = PassDocument(
        kind=config.kind,
        fingerprint=pass_fingerprint(config, spec, context, inputs),
        columns=columns,
        about=about(spec, context),
        needs=needs,
    )
    accept = LIBRARIES if config.accept_mixed else ()
    refuse_other(config.run, name, document, accept)
    predicted: Sequence[ShardSpec] = [spec for spec in planned if spec.name in records]
    if scorer.needs_image and not records.keys() <= committed_shards(folder).keys():
        predicted = _with_images(config, predicted, inputs)
    # 3. Lock the pass, not the run: other passes may work beside it.
    with (
        staying_connected(config.cluster),
        locked(folder) as lease,
        waiting_for_storage(config.cluster.storage_patience_s),
    ):
        # 4. Find the shards that are not scored, or were computed again since.
        progress = Progress(sum(len(spec.samples) for spec in predicted), policy=None)
        there = read_shard_records(folder, sorted(committed_shards(folder).keys() & records.keys()))
        basis = builds_on(config.kind, needs, list(records), partial(pass_folder, config.run))
        stale = {name for name, found in there.items() if outdated(found, records[name], basis[name])}
        todo = todo_of(folder, predicted, progress, retry_failed=config.retry_failed, outdated=stale)
        work = ShardWork(
            run=folder,
            lock=lease.file,
            batch_images=config.batch_images,
            max_image_bytes=inputs.max_image_bytes,
            max_image_pixels=inputs.max_image_pixels,
            default_frame=default_frame(inputs.orientation, annotated=bool(inputs.annotations)),
            made_with=document.digest,
            storage_patience_s=config.cluster.storage_patience_s,
            accept_mixed=config.accept_mixed,
            retry_failed=config.retry_failed,
            probes=take_probes(_samples(todo), inputs.max_image_bytes) if scorer.needs_image else (),
        )
        setup = PassSetup(
            spec=spec,
            context=context,
            work=work,
            needed=needed,
            builds_on=basis,
            expected=Expected.of(
                document.fingerprint,
                further=tuple(said("made_with", spec, context)),
                more_code=code_of(config.kind),
                accept_mixed=config.accept_mixed,
            ),
            weights=_weights(config.model, document.fingerprint),
        )
        # 5. Let every node look at what it needs, before the first session writes anything.
        findings = None if is_begun(config.run, name) else look_ahead(setup, config.cluster)
        # 6. Store what the pass is made with, or compare it with what is stored; then score and commit.
        work = replace(work, made_with=open_pass(config.run, name, document, accept).digest)
        with working(progress):
            process_shards(todo, replace(setup, work=work), config.cluster, progress, lease.check, findings)
        # 7. Remove what killed sessions left.
        lease.confirm()
        scored = read_shard_records(folder, [spec.name for spec in predicted])
        sweep(folder, scored, FOLDER)
        # 8. Write what people read.
        with stage("writing the reports"):
            write_report(spec, context, columns, scored, predicted, work)
    return PassReport(
        name=name,
        folder=folder,
        images=sum(len(spec.samples) for spec in planned),
        scored=sum(record.done for record in scored.values()),
        failed=sum(record.failed for record in scored.values()),
        not_predicted=sum(len(spec.samples) for spec in planned if spec.name not in records),
        computed=progress.computed,
        images_per_s=progress.images_per_s() if todo else 0.0,
        columns=tuple(column.name for column in columns),
    )


def pass_fingerprint(config: PassConfig, spec: PassSpec, context: PassContext, inputs: InputConfig) -> dict[str, str]:
    """Everything that changes a value of a pass, besides the candidates: field → value, both text.

    Raises: ConfigError: the configured weights, or a file that the options name, do not exist.
    """
    known = PASSES.get(spec.kind)
    places = spec.options.places() if hasattr(spec.options, "places") else ()
    given = _flat(asdict(spec.options) if spec.options else {})
    values = {f"option {name}": str(value) for name, value in given if name not in places}
    values |= {
        "code": code_sha256(code_of(spec.kind)),
        "batch_images": str(config.batch_images),
        "max_image_bytes": str(inputs.max_image_bytes),
        "max_image_pixels": str(inputs.max_image_pixels),
    }
    if not known:
        values["source"] = spec.source_sha256
    if known and known.predicts:
        values |= model_fields(config.model, processing_res_in(context.made_with))
    # What a name does not tell, such as the digest of a file.
    return values | said("made_with", spec, context) | library_versions()


def _weights(model: ModelConfig, fingerprint: Mapping[str, str]) -> Weights | None:
    """The weights of `--model`, if they are those that the pass is made with: a witness has its own."""
    found = weights_of(model) if "weights" in fingerprint else None
    return found if found and found.sha256 == fingerprint["weights"] else None


def _samples(specs: Sequence[ShardSpec]) -> list[Sample]:
    return [sample for spec in specs for sample in spec.samples]


def code_of(kind: str) -> tuple[str, ...]:
    """Modules of `pipeline/` that decide the values of a pass, beside those of candidates."""
    return (*SHARED_CODE, *(PASSES[kind].code if kind in PASSES else ()))


def about(spec: PassSpec, context: PassContext) -> dict[str, str]:
    """What the card says of the pass: heading → text."""
    return said("about", spec, context)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Fields within fields, their names joined by dots."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found


def _inputs(config: PassConfig) -> InputConfig:
    """Where the run's newest session found its images, or where they are now."""
    inputs = remembered_inputs(config.run)
    return replace(inputs, images=config.images or inputs.images, annotations=config.annotations or inputs.annotations)


def _with_images(config: PassConfig, predicted: Sequence[ShardSpec], inputs: InputConfig) -> Sequence[ShardSpec]:
    """The predicted shards, with the places of their images: as planned; or as they are found now, if they have moved.

    Raises: CollectionError: none of them can be read. RunMismatchError: the collection is another one now.
    """
    if not config.images and not config.annotations:
        try:
            require_usable(_collection(predicted), inputs)
            return predicted
        except (CollectionError, FileNotFoundError) as error:  # a later session of the run may know where they are now
            log.info("the images are not where the run first found them (%s); looking for them anew", error)
    require_whole(config.run, images=inputs.images, annotations=inputs.annotations)
    found = with_present_samples(config.run, predicted, read_collection(inputs).samples)
    require_usable(_collection(found), inputs)
    return found


def _collection(specs: Sequence[ShardSpec]) -> Collection:
    """These images as a collection of which nothing else is known."""
    samples = tuple(sample for spec in specs for sample in spec.samples)
    return Collection(samples=samples, licenses={}, origins={}, has_annotations=False, has_instances=False)


def _begun_with(run: str, name: str) -> str:
    """The precision of a pass that is begun; "" if there is none, or its document is lost and will be written anew."""
    if is_begun(run, name):
        with suppress(StorageError):
            return read_document(run, name).fingerprint.get("dtype", "")
    return ""


def _needed(config: PassConfig, needs: Sequence[str], records: Mapping[str, Any]) -> dict[str, Sequence[Column]]:
    """Folder → columns of the passes that this one builds on.

    Raises: ConfigError: one of them has not scored all images.
    """
    found: dict[str, Sequence[Column]] = {}
    for other in needs:
        try:
            found[pass_folder(config.run, other)] = read_pass(config.run, other, records).stated.document.columns
        except CollectionError as error:
            raise ConfigError(f"--pass {config.kind} builds on the pass {other}: {error}") from error
    return found
