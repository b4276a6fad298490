"""A release from a complete run: no model, no prediction, another policy each time if you like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.candidates import committed_shards, read_records, read_rows
from pipeline.coco import Collection
from pipeline.config import RunConfig
from pipeline.errors import RunMismatchError
from pipeline.fingerprint import settled_device
from pipeline.records import ShardSpec
from pipeline.release.assemble import ReleaseSource, assemble
from pipeline.run_record import plan_of, read_run
from pipeline.select import select


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


def decided(config: RunConfig, collection: Collection, specs: Sequence[ShardSpec]) -> ReleaseSource:
    """A complete run with the verdict of `config.policy` on every image."""
    records = read_records(config.out, [spec.name for spec in specs])
    rows = [row for spec in specs for row in read_rows(config.out, records[spec.name])]
    samples = [sample for spec in specs for sample in spec.samples]
    verdicts = select(rows, samples, collection.licenses, config.policy)
    return ReleaseSource(
        run=config.out,
        specs=specs,
        records=records,
        licenses=collection.licenses,
        origins=collection.origins,
        verdicts=verdicts,
    )


def build_release(source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str]) -> BuildReport:
    """Assemble the release that `config.release` names.

    Args:    made_with: the fingerprint of the run.
    Raises:  as `assemble`.
    """
    release = assemble(source, config, {**made_with, "device": settled_device(config.out)})
    reasons = source.reasons()
    return BuildReport(
        images=len(source.verdicts),
        accepted=sum(reasons.get("accepted", {}).values()),
        rejected=reasons.get("rejected", {}),
        failed=reasons.get("failed", {}),
        release=release,
    )
