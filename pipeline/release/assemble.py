"""Assembles a release from candidates: tars, annotations, manifest, card, page, and `release.json` last.

No model is needed. Every file follows from the inputs, the candidates and the policy; neither the order of work nor
where it is done shows.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import storage
from pipeline.config import ClusterConfig, ReleaseConfig, RunConfig, as_values
from pipeline.errors import ReleaseExistsError, StorageError
from pipeline.instances import UNCHECKED, digest_of
from pipeline.policy import parse_splits, split_of
from pipeline.records import FileRecord, Verdict
from pipeline.release.card import agreement_of, card
from pipeline.release.changes import Earlier, change_files, changes_since, read_earlier
from pipeline.release.coco_json import CocoAnnotations
from pipeline.release.croissant import CROISSANT, croissant, is_described
from pipeline.release.croissant_texts import CroissantAbout
from pipeline.release.licenses import LicenseTable
from pipeline.release.manifest import NOWHERE, Place, encode_manifest, manifest_row
from pipeline.release.page import page_about, page_files
from pipeline.release.source import ReleaseSource, portions
from pipeline.release.survey import Surveyed, SurveyTask, plan_survey, shown_photos, survey
from pipeline.release.tar_series import (
    PlannedTar,
    ReleasedTar,
    TarTask,
    facts_json,
    plan_tars,
    tar_member_bytes,
    wids_index,
    write_tar,
)
from pipeline.select import considered, select
from pipeline.spread import spread, workers
from pipeline.tars import encode_json

log = logging.getLogger(__name__)

RECORD = "release.json"
SUMS = "SHA256SUMS"
"""Sums of all files but itself and `release.json`, which has its sum."""
FORMAT = 2
"""Goes up when a release has other files, or other things in them, than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What is known when the tars are written."""

    rows: Sequence[Mapping[str, Any]]
    """Of the manifest."""
    surveyed: Mapping[str, Surveyed]
    tars: Mapping[str, Sequence[ReleasedTar]]
    """Of every split, in their order."""
    shown: frozenset[str]


def assemble(source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str]) -> str:
    """Make the release that `config` names, if it is not there yet.

    Args:    made_with: the fingerprint of the run.
    Returns: its folder.
    Raises:  ReleaseExistsError: the version is there, made from something else.
             StorageError: an image changed, or went away, since it was predicted.
    """
    name = f"{config.release.name}-{config.release.version}"
    folder = storage.join(config.out, "release", name)
    earlier = read_earlier(config.release.previous) if config.release.previous else None
    identity = _identity(source, config, made_with, earlier)
    if storage.exists(storage.join(folder, RECORD)):
        _refuse_other(folder, identity)
        log.info("release %s is complete", name)
        return folder
    storage.remove_tree(folder)  # the remains of an assembly that was cut off: nothing names them
    contents = _write_contents(source, config, folder, made_with, earlier)
    release = {"format": FORMAT, "name": config.release.name, "version": config.release.version, "made_from": identity}
    if not storage.create(storage.join(folder, RECORD), encode_json(release | contents)):
        _refuse_other(folder, identity)
    return folder


def _write_contents(
    source: ReleaseSource, config: RunConfig, folder: str, made_with: Mapping[str, str], earlier: Earlier | None
) -> dict[str, Any]:
    """All files but `release.json`; returns what that one says about them."""
    shown = shown_photos(source, config)
    tasks = plan_survey(source, folder, shown, config.input.max_image_bytes)
    with workers(config.cluster, len(tasks)) as cluster:
        surveyed, files = _survey(tasks, cluster)
        verdicts = _verdicts(source, surveyed, config)
        planned = _plan(source, surveyed, verdicts, config)
        log.info("%d images are accepted; writing %d tars", sum(len(tar.keys) for tar in planned), len(planned))
        written = spread(write_tar, _tar_tasks(planned, source, folder, config), cluster)
    tars: dict[str, list[ReleasedTar]] = {split: [] for split in parse_splits(config.release.splits)}
    for tar, one in zip(planned, written, strict=True):
        tars[tar.split].append(one)
    parts = _Parts(rows=_rows(source, surveyed, verdicts, planned), surveyed=surveyed, tars=tars, shown=shown)
    files += [tar.record for tar in written]
    texts = _texts(source, config, parts, made_with)
    if earlier:
        texts |= _changes(config.release, earlier, parts)
    files += [_publish(folder, name, content) for name, content in sorted(texts.items())]
    counts = count_reasons(verdicts.values())
    totals = {decision: sum(reasons.values()) for decision, reasons in counts.items()}
    about = CroissantAbout(release=config.release, policy=config.policy, counts=totals, made_with=made_with)
    described = sorted((file for file in files if is_described(file.name)), key=lambda file: file.name)
    files.append(_publish(folder, CROISSANT, croissant(about, described)))
    files.sort(key=lambda file: file.name)
    files.append(_publish(folder, SUMS, sha256_sums(files)))
    return {
        "counts": totals,
        "files": [asdict(file) for file in sorted(files, key=lambda file: file.name)],
    }


def count_reasons(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Decision → reason → images, in the order of the alphabet."""
    counts: dict[str, dict[str, int]] = {}
    for verdict in sorted(verdicts, key=lambda verdict: (verdict.decision, verdict.reason)):
        reasons = counts.setdefault(verdict.decision, {})
        reasons[verdict.reason] = reasons.get(verdict.reason, 0) + 1
    return counts


def _survey(tasks: Sequence[SurveyTask], cluster: ClusterConfig) -> tuple[dict[str, Surveyed], list[FileRecord]]:
    found = spread(survey, tasks, cluster)
    surveyed = {image.key: image for answer in found for image in answer.images}
    return surveyed, [sheet for answer in found for sheet in answer.sheets]


def _verdicts(source: ReleaseSource, surveyed: Mapping[str, Surveyed], config: RunConfig) -> dict[str, Verdict]:
    images = [
        considered(
            row,
            sample,
            source.license_of(sample).url,
            surveyed[row.key].checked if row.key in surveyed else UNCHECKED,
        )
        for sample, row in source.images()
    ]
    return select(images, config.policy)


def _plan(
    source: ReleaseSource, surveyed: Mapping[str, Surveyed], verdicts: Mapping[str, Verdict], config: RunConfig
) -> list[PlannedTar]:
    """Which accepted image goes into which tar, split after split."""
    shares = parse_splits(config.release.splits)
    sizes: dict[str, list[tuple[str, int]]] = {split: [] for split in shares}
    for sample, row in source.images():
        if verdicts[row.key].decision == "accepted":
            facts = facts_json(sample, row, source.license_of(sample))
            size = surveyed[row.key].map_bytes + tar_member_bytes(len(facts))
            if config.release.embed_images:
                size += tar_member_bytes(row.image_bytes)
            sizes[split_of(row.key, shares)].append((row.key, size))
    return [tar for split in shares for tar in plan_tars(split, sizes[split], config.release.tar_bytes)]


def _tar_tasks(planned: Sequence[PlannedTar], source: ReleaseSource, folder: str, config: RunConfig) -> list[TarTask]:
    return [
        TarTask(
            folder=folder,
            name=tar.name,
            portions=found,
            licenses={
                image.sample.key: source.license_of(image.sample) for portion in found for image in portion.images
            },
            embed_images=config.release.embed_images,
            max_image_bytes=config.input.max_image_bytes,
        )
        for tar, found in zip(planned, portions(source, [tar.keys for tar in planned]), strict=True)
    ]


def _rows(
    source: ReleaseSource,
    surveyed: Mapping[str, Surveyed],
    verdicts: Mapping[str, Verdict],
    planned: Sequence[PlannedTar],
) -> list[dict[str, Any]]:
    places = {
        key: Place(split=tar.split, tar=tar.name, mask_sha256=surveyed[key].mask_sha256)
        for tar in planned
        for key in tar.keys
    }
    return [
        manifest_row(
            sample,
            row,
            source.license_of(sample),
            verdicts[row.key],
            places.get(row.key, NOWHERE),
            surveyed[row.key].checked if row.key in surveyed else UNCHECKED,
        )
        for sample, row in source.images()
    ]


def _texts(source: ReleaseSource, config: RunConfig, parts: _Parts, made_with: Mapping[str, str]) -> dict[str, bytes]:
    """Name → content of all files that are neither tars nor sheets of tiles."""
    release = config.release
    contents: dict[str, bytes] = {}
    annotations = {split: CocoAnnotations(release, source.licenses) for split in parts.tars}
    licenses = LicenseTable(source.origins)
    for (sample, _), row in zip(source.images(), parts.rows, strict=True):
        if row["split"]:
            annotations[row["split"]].add(sample, parts.surveyed[sample.key].mask)
        if row["split"] or sample.key in parts.shown:
            licenses.add(sample, source.license_of(sample))
    for split, tars in parts.tars.items():
        contents[f"annotations/{split}.json"] = annotations[split].encode()
        contents[f"data/{split}/index.json"] = wids_index(release.name, tars)
    reasons = count_reasons(Verdict(decision=row["verdict"], reason=row["reason"]) for row in parts.rows)
    return contents | {
        "manifest.parquet": encode_manifest(parts.rows),
        "licenses.csv": licenses.encode(),
        "NOTICE": licenses.notice(f"{release.name} {release.version}"),
        "README.md": card(
            config, reasons, made_with, [name for name, tars in parts.tars.items() if tars], agreement_of(parts.rows)
        ),
        **page_files(parts.rows, page_about(release, config.policy, made_with)),
    }


def _changes(release: ReleaseConfig, earlier: Earlier, parts: _Parts) -> dict[str, bytes]:
    masks = {key: image.mask for key, image in parts.surveyed.items()}
    changes = changes_since(earlier, parts.rows, masks)
    accepted = sum(row["verdict"] == "accepted" for row in parts.rows)
    return change_files(release.name, release.version, earlier, changes, accepted)


def sha256_sums(files: Sequence[FileRecord]) -> bytes:
    """As `sha256sum --check` reads them."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in files).encode()


def _publish(folder: str, name: str, content: bytes) -> FileRecord:
    record = storage.publish(storage.join(folder, name), content)
    return FileRecord(name=name, file_bytes=record.file_bytes, sha256=record.sha256)


def _identity(
    source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str], earlier: Earlier | None
) -> dict[str, Any]:
    """What a release is made from; equal identities give equal releases."""
    digest = hashlib.sha256()
    for spec in source.specs:
        record = source.records[spec.name]
        digest.update(f"{record.shard} {record.tar.sha256} {record.rows.sha256}\n".encode())
    identity = {
        "name": config.release.name,
        "version": config.release.version,
        "fingerprint": dict(made_with),
        "candidates": digest.hexdigest(),
        "policy": as_values(config.policy),
        "tar_bytes": config.release.tar_bytes,
        "embed_images": config.release.embed_images,
        "publication": {name: getattr(config.release, name) for name in ("creator", "published_on", "homepage")},
        "splits": parse_splits(config.release.splits),
        "licenses": _digest_of(source.licenses),
        "origins": _digest_of(source.origins),
        "instances": digest_of(source.instances),
        "previous": earlier.sha256 if earlier else "",
    }
    as_stored: dict[str, Any] = json.loads(encode_json(identity))  # tuples become lists
    return as_stored


def _digest_of(values: Mapping[Any, Any]) -> str:
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()


def _refuse_other(folder: str, identity: Mapping[str, Any]) -> None:
    try:
        found = json.loads(storage.read(storage.join(folder, RECORD)))["made_from"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{folder}/release.json can't be read ({error}); remove the folder to make it anew"
        ) from error
    differing = sorted(name for name in identity.keys() | found.keys() if identity.get(name) != found.get(name))
    if differing:
        raise ReleaseExistsError(
            f"{folder} is there already, with another {', '.join(differing)}"
            f" (policy there: {found.get('policy')}, asked for: {identity['policy']}). Give another --version"
        )
