"""A release from a complete run: no model, no prediction, another policy each time if you like."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.collection.coco import Collection
from pipeline.collection.instances import read_instances
from pipeline.config import RunConfig
from pipeline.errors import RunMismatchError
from pipeline.files import storage
from pipeline.files.parquet import read_parquet
from pipeline.records import ShardSpec, StoredFile, Verdict
from pipeline.release.assemble import assemble
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.source import ReleaseSource
from pipeline.runs.candidates import committed_shards, read_rows, read_shard_records
from pipeline.runs.fingerprint import settled_device
from pipeline.runs.run_file import plan_of, read_run
from pipeline.selection.verdicts import count_reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a release has."""

    images: int
    accepted: int
    rejected: Mapping[str, int]
    """Reason → images."""
    failed: Mapping[str, int]
    """Reason → images."""
    release: str
    """Its folder."""
    page: str
    """A page to look at it, for a browser."""


def complete_run(run: str, collection: Collection) -> tuple[tuple[ShardSpec, ...], dict[str, str]]:
    """Plan and fingerprint of a run of which nothing is left to compute.

    Raises: RunMismatchError: something is, or the collection is another one. CollectionError: there is no run.
    """
    stored, planned = read_run(run)
    made_with = {name: value for name, value in stored.items() if name != "plan"}
    specs, _, added = plan_of(run, collection.samples, int(stored["shard_size"]), made_with)
    committed = committed_shards(run)
    left = [*(spec for spec in planned if spec.name not in committed), *added]
    if left:
        raise RunMismatchError(
            f"{run}: {sum(len(spec.samples) for spec in left)} of {len(collection.samples)} images are not computed "
            "yet; finish the run with its own command, then make the release"
        )
    return specs, stored


def source_of(config: RunConfig, collection: Collection, specs: Sequence[ShardSpec]) -> ReleaseSource:
    """All that is known of the images of a complete run."""
    records = read_shard_records(config.out, [spec.name for spec in specs])
    rows = {row.key: row for spec in specs for row in read_rows(config.out, records[spec.name])}
    predicted = [sample for spec in specs for sample in spec.samples if rows[sample.key].members]
    instances = read_instances(config.input.annotations, predicted) if collection.has_instances else {}
    return ReleaseSource(
        run=config.out,
        specs=specs,
        records=records,
        rows=rows,
        licenses=collection.licenses,
        origins=collection.origins,
        instances=instances,
    )


def build_release(
    source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str], confirm: Callable[[], None] = lambda: None
) -> BuildReport:
    """Assemble the release that `config.release` names, and say what is in it.

    Args:    made_with: the fingerprint of the run. confirm: see `assemble`.
    Raises:  as `assemble`.
    """
    release = assemble(source, config, {**made_with, "device": settled_device(config.out)}, confirm)
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
    """Key → verdict of every image, as the release's manifest has them.

    Raises: StorageError: the manifest is not the one that `release.json` names.
    """
    files = json.loads(storage.read(storage.join(release, RELEASE_JSON)))["files"]
    (record,) = (StoredFile(**file) for file in files if file["name"] == "manifest.parquet")
    table = read_parquet(storage.read_checked(storage.join(release, record.name), record))
    columns = (table.column(name).to_pylist() for name in ("key", "verdict", "reason"))
    return {key: Verdict(decision=decision, reason=reason) for key, decision, reason in zip(*columns, strict=True)}
