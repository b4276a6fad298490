"""Make a release from a complete run: no model and no prediction, with another policy each time if you like."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from model.documents import parse_json
from pipeline.collection.collection import Collection
from pipeline.collection.instances import NO_INSTANCES, read_instances
from pipeline.config import RunConfig
from pipeline.errors import RunMismatchError
from pipeline.files import storage
from pipeline.files.parquet import read_parquet
from pipeline.progress.stages import counted, stage
from pipeline.records import ShardSpec, StoredFile, Verdict
from pipeline.release.assemble import assemble
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.passes import read_passes
from pipeline.release.source import ReleaseSource, with_collection
from pipeline.runs.candidates import read_rows
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.runs.machine import made_on
from pipeline.runs.run_file import plan_of, read_run
from pipeline.selection.verdicts import count_reasons

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a release holds."""

    images: int
    accepted: int
    rejected: Mapping[str, int]
    """Reason → images."""
    failed: Mapping[str, int]
    """Reason → images."""
    release: str
    """Its folder."""
    page: str
    """The release's page, for a browser."""


def complete_run(run: str, collection: Collection) -> tuple[tuple[ShardSpec, ...], dict[str, str]]:
    """Read the plan and the fingerprint of a complete run.

    Raises: RunMismatchError: images are left to compute, the collection differs, or the run has single members.
            CollectionError: not a run.
    """
    stored, planned = read_run(run)
    if stored["ensemble_size"] == "1":
        raise RunMismatchError(
            f"{run} was predicted for an evaluation, with one ensemble member per image: without a variance there is "
            "nothing to accept images by. Make a run with sod label"
        )
    made_with = {name: value for name, value in stored.items() if name != "plan"}
    specs, _, added = plan_of(run, collection.samples, int(stored["shard_size"]), made_with)
    committed = committed_shards(run)
    left = [*(spec for spec in planned if spec.name not in committed), *added]
    if left:
        raise RunMismatchError(
            f"{run}: {sum(len(spec.samples) for spec in left)} of {len(collection.samples)} images are not computed "
            "yet. Run its own command again to finish it, then build the release"
        )
    return specs, stored


def source_of(config: RunConfig, collection: Collection, specs: Sequence[ShardSpec]) -> ReleaseSource:
    """Gather all that is known about the images of a complete run.

    Raises: ConfigError, RunMismatchError: see `read_passes`.
    """
    records = read_shard_records(config.out, [spec.name for spec in specs])
    read = counted("reading the scores", specs, len(specs), "shards")
    rows = {row.key: row for spec in read for row in read_rows(config.out, records[spec.name])}
    predicted = [sample for spec in specs for sample in spec.samples if rows[sample.key].members]
    instances = NO_INSTANCES
    if collection.has_annotations:
        with stage("reading the annotations' outlines"):
            instances = read_instances(config.input.annotations, predicted)
    for remark in instances.remarks:
        log.warning("%s: %s", config.input.annotations, remark)
    return ReleaseSource(
        run=config.out,
        specs=specs,
        records=records,
        rows=rows,
        licenses=collection.licenses,
        origins=collection.origins,
        instances=instances,
        passes=read_passes(config, records, list(rows.values())),
        collection_name=collection.name,
        collection_url=collection.url,
    )


def build_release(
    source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str], confirm: Callable[[], None] = lambda: None
) -> BuildReport:
    """Assemble the release that `config.release` names, and report what it holds.

    Args:    made_with: the run's fingerprint. confirm: see `assemble`.
    Raises:  as `assemble`.
    """
    config = with_collection(config, source.collection_name, source.collection_url)
    release = assemble(source, config, {**made_with, **made_on(config.out)}, confirm)
    verdicts = verdicts_of(release)
    reasons = count_reasons(verdicts.values())
    return BuildReport(
        images=len(verdicts),
        accepted=sum(reasons.get("accepted", {}).values()),
        rejected=reasons.get("rejected", {}),
        failed=reasons.get("failed", {}),
        release=release,
        page=storage.join(release, "index.html"),
    )


def verdicts_of(release: str) -> dict[str, Verdict]:
    """Read the verdict of every image, by key, from a release's manifest.

    Raises: StorageError: the manifest is not the one that `release.json` names.
    """
    files = parse_json(storage.read(storage.join(release, RELEASE_JSON)))["files"]
    (record,) = (StoredFile(**file) for file in files if file["name"] == "manifest.parquet")
    table = read_parquet(storage.read_checked(storage.join(release, record.name), record))
    columns = (table.column(name).to_pylist() for name in ("key", "verdict", "reason"))
    return {key: Verdict(decision=decision, reason=reason) for key, decision, reason in zip(*columns, strict=True)}
