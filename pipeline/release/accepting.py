"""What a policy would accept of a run, before a release of it is written; and the refusal of a release of nothing.

Verdicts are those of the release: the same function gives them. Only agreement with the annotations' instances needs
more than rows, so masks are read only for a policy that asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.collection.instances import UNCHECKED, CrossCheck, cross_check
from pipeline.config import RunConfig
from pipeline.errors import ConfigError
from pipeline.files.maps import decode_png
from pipeline.passes.folder import columns_of
from pipeline.records import Verdict
from pipeline.release.identity import release_folder
from pipeline.release.pictures import NOTHING_KNOWN, known_of, mask_in
from pipeline.release.source import ReleaseSource, portions, read_portions
from pipeline.selection.columns import table_with
from pipeline.selection.policy import PolicyConfig, named_scores
from pipeline.selection.scores import CROSS_CHECKS, SCORES
from pipeline.selection.verdicts import considered, count_reasons, select


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseForecast:
    """What a release would hold."""

    release: str
    """Its folder."""
    version: str
    images: int
    accepted: int
    rejected: Mapping[str, int]
    """Reason → images."""
    failed: Mapping[str, int]
    """Reason → images."""
    tar_bytes: int
    """About as many bytes as its tars would have: the photos' own files, and stored maps of the usual size."""


def forecast_release(source: ReleaseSource, config: RunConfig) -> ReleaseForecast:
    """Find out what `assemble` would accept; write nothing.

    Raises: ConfigError: it would be refused, see `refuse_unmeasured` and `refuse_empty`.
    """
    refuse_unmeasured(source, config)
    verdicts = judged(source, config, _checked(source, config))
    refuse_empty(verdicts, config)
    reasons = count_reasons(verdicts.values())
    return ReleaseForecast(
        release=release_folder(config),
        version=config.release.version,
        images=len(verdicts),
        accepted=sum(reasons.get("accepted", {}).values()),
        rejected=reasons.get("rejected", {}),
        failed=reasons.get("failed", {}),
        tar_bytes=_tar_bytes(source, config, verdicts),
    )


def judged(source: ReleaseSource, config: RunConfig, checked: Mapping[str, CrossCheck] | None) -> dict[str, Verdict]:
    """Key → verdict, for every image of a run.

    Args: checked: key → agreement with the annotations' instances. None: it is not known yet, and bounds on it are
          passed over, so that no image is rejected that could be accepted.
    """
    images = [
        considered(
            row,
            sample,
            source.license_of(sample).url,
            None if checked is None else checked.get(row.key, UNCHECKED),
            source.added_scores(row.key),
        )
        for sample, row in source.images()
    ]
    return select(images, config.policy, table_with(columns_of(source.stated_passes)))


def refuse_unmeasured(source: ReleaseSource, config: RunConfig) -> None:
    """Refuse a policy on a score that the run does not have, as runs of earlier versions lack some.

    Raises: ConfigError: it names one, and `allow_empty` is off.
    """
    predicted = [row for _, row in source.images() if row.status == "done"]
    lacking = [
        name
        for name in named_scores(config.policy)
        if name in SCORES and predicted and not any(name in row.scores for row in predicted)
    ]
    if lacking and not config.release.allow_empty:
        raise ConfigError(
            f"the policy names {lacking[0]}, which {source.run} does not have: an earlier version made it, which did "
            "not measure that. Leave it out of the policy, make a new run, or give --allow-empty"
        )


def refuse_empty(verdicts: Mapping[str, Verdict], config: RunConfig) -> None:
    """Refuse a release of no image.

    Raises: ConfigError: no image is accepted, and `allow_empty` is off; has the reasons with their numbers.
    """
    if config.release.allow_empty or any(verdict.decision == "accepted" for verdict in verdicts.values()):
        return
    reasons = count_reasons(verdicts.values())
    found = [
        f"{images} {decision} ({reason})"
        for decision, of_decision in reasons.items()
        for reason, images in sorted(of_decision.items(), key=lambda item: -item[1])
    ]
    raise ConfigError(
        f"the release would be empty: of {len(verdicts)} images, {', '.join(found)}. Relax the policy, or give "
        "--allow-empty"
    )


def _checked(source: ReleaseSource, config: RunConfig) -> dict[str, CrossCheck] | None:
    """Key → agreement with the annotations' instances, from the stored maps; None if the policy does not ask for it."""
    if not _needs_instances(config.policy):
        return None
    known = known_of(source, config.release, config.policy)
    keys = [row.key for _, row in source.images() if row.key in source.instances.of]
    (found,) = portions(source, [keys])
    return {
        image.sample.key: cross_check(
            mask_in(decode_png(members["saliency.png"]), known.get(image.sample.key, NOTHING_KNOWN)),
            source.instances.of[image.sample.key],
        )
        for image, members in read_portions(found)
    }


def _needs_instances(policy: PolicyConfig) -> bool:
    return policy.strata != "none" or any(name in CROSS_CHECKS for name in named_scores(policy))


def _tar_bytes(source: ReleaseSource, config: RunConfig, verdicts: Mapping[str, Verdict]) -> int:
    shares = {
        spec.name: record.tar.file_bytes / record.done
        for spec in source.specs
        if (record := source.records[spec.name]).tar and record.done
    }
    found = 0.0
    for spec in source.specs:
        for row in (source.rows[sample.key] for sample in spec.samples):
            if verdicts[row.key].decision == "accepted":
                found += shares[spec.name] + (row.image_bytes if config.release.embed_images else 0)
    return round(found)
