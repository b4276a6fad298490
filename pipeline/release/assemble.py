"""Assembles a release from candidates: tars, annotations, manifest, card, page, and `release.json` last.

No model is needed. Every file follows from the inputs, the candidates and the policy; neither the order of work nor
where it is done shows.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.collection.instances import UNCHECKED
from pipeline.config import ReleaseConfig, RunConfig
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.records import StoredFile, Verdict
from pipeline.release.card import card
from pipeline.release.changes import Earlier, change_files, changes_since, read_earlier
from pipeline.release.coco_json import CocoAnnotations
from pipeline.release.croissant import CROISSANT, croissant, is_described
from pipeline.release.croissant_texts import CroissantAbout
from pipeline.release.identity import FORMAT, RELEASE_JSON, check_identity, identity_of, texts_digest
from pipeline.release.licenses import LicenseTable, is_listed, notice
from pipeline.release.manifest import NOWHERE, Place, encode_manifest, manifest_row
from pipeline.release.page.files import page_about, page_files
from pipeline.release.source import ReleaseSource, portions
from pipeline.release.strays import remove_others, remove_unfinished
from pipeline.release.survey import Surveyed, plan_survey, shown_photos, survey
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
from pipeline.replicas.tasks import spread, workers
from pipeline.selection.policy import parse_splits, split_of
from pipeline.selection.verdicts import considered, count_reasons, select

log = logging.getLogger(__name__)

SUMS = "SHA256SUMS"
"""Sums of all files but itself and `release.json`, which has its sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """A release that is being made."""

    source: ReleaseSource
    config: RunConfig
    folder: str
    made_with: Mapping[str, str]
    earlier: Earlier | None
    confirm: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What is known when the tars are written."""

    rows: Sequence[Mapping[str, Any]]
    """Of the manifest."""
    surveyed: Mapping[str, Surveyed]
    tars: Mapping[str, Sequence[ReleasedTar]]
    """Of every split, in their order."""


def assemble(
    source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str], confirm: Callable[[], None] = lambda: None
) -> str:
    """Make the release that `config` names, if it is not there yet.

    Args:    made_with: the fingerprint of the run.
             confirm: called between writes; what it raises ends the work. Two sessions that both believe to have the
             run would write over each other's files.
    Returns: its folder.
    Raises:  ReleaseExistsError: the version is there, made from something else.
             StorageError: an image changed, or went away, since it was predicted.
    """
    name = f"{config.release.name}-{config.release.version}"
    folder = storage.join(config.out, "release", name)
    earlier = read_earlier(config.release.previous) if config.release.previous else None
    identity = identity_of(source, config, made_with, earlier.sha256 if earlier else "")
    if storage.exists(storage.join(folder, RELEASE_JSON)):
        check_identity(folder, identity)
        log.info("release %s is complete", name)
        return folder
    confirm()
    # What an assembly that was cut off has left is written over, and what is not of this release removed at the end: a
    # session that only believes to have the run then does no harm to one that makes the same release.
    remove_unfinished(folder)
    made = _Making(source=source, config=config, folder=folder, made_with=made_with, earlier=earlier, confirm=confirm)
    contents = _write_contents(made)
    named = {"name": config.release.name, "version": config.release.version, "made_from": identity}
    release = {"format": FORMAT, "texts": texts_digest(), **named, **contents}
    confirm()
    remove_others(folder, {RELEASE_JSON, *(file["name"] for file in contents["files"])})
    if not storage.create(storage.join(folder, RELEASE_JSON), encode_json(release)):
        check_identity(folder, identity)
    return folder


def _write_contents(made: _Making) -> dict[str, Any]:
    """All files but `release.json`; returns what that one says about them."""
    source, config, folder = made.source, made.config, made.folder
    tasks = plan_survey(source, folder, shown_photos(source, config), config.input.max_image_bytes)
    with workers(config.cluster, len(tasks)) as cluster:
        surveys = spread(survey, tasks, cluster, lambda _: made.confirm())
        surveyed = {image.key: image for answer in surveys for image in answer.images}
        verdicts = _verdicts(source, surveyed, config)
        planned = _plan(source, surveyed, verdicts, config)
        log.info("%d images are accepted; writing %d tars", sum(len(tar.keys) for tar in planned), len(planned))
        written = spread(write_tar, _tar_tasks(planned, source, folder, config), cluster, lambda _: made.confirm())
    tars: dict[str, list[ReleasedTar]] = {split: [] for split in parse_splits(config.release.splits)}
    for tar, one in zip(planned, written, strict=True):
        tars[tar.split].append(one)
    parts = _Parts(rows=_rows(source, surveyed, verdicts, planned), surveyed=surveyed, tars=tars)
    files = [sheet for answer in surveys for sheet in answer.sheets] + [tar.record for tar in written]
    files += [_publish(made, name, content) for name, content in sorted(_texts(made, parts).items())]
    counts = {decision: sum(reasons.values()) for decision, reasons in count_reasons(verdicts.values()).items()}
    about = CroissantAbout(release=config.release, policy=config.policy, counts=counts, made_with=made.made_with)
    described = sorted((file for file in files if is_described(file.name)), key=lambda file: file.name)
    files.append(_publish(made, CROISSANT, croissant(about, described)))
    files.sort(key=lambda file: file.name)
    files.append(_publish(made, SUMS, sha256_sums(files)))
    without_photo = [key for answer in surveys for key in answer.without_photo]
    if without_photo:
        log.warning(
            "%d photos are gone or others now, key %s for example: the page shows none",
            len(without_photo),
            without_photo[0],
        )
    return {
        "counts": counts,
        "files": [asdict(file) for file in sorted(files, key=lambda file: file.name)],
        "without_thumbnail": without_photo,
    }


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


def _texts(made: _Making, parts: _Parts) -> dict[str, bytes]:
    """Name → content of all files that are neither tars nor sheets of tiles nor about those."""
    source, config, release = made.source, made.config, made.config.release
    contents: dict[str, bytes] = {}
    annotations = {split: CocoAnnotations(release, source.licenses) for split in parts.tars}
    licenses = LicenseTable(source.origins)
    for (sample, _), row in zip(source.images(), parts.rows, strict=True):
        if row["split"]:
            annotations[row["split"]].add(sample, parts.surveyed[sample.key].mask)
        if is_listed(row, config.policy, release.embed_images):
            licenses.add(sample, source.license_of(sample))
    for split, tars in parts.tars.items():
        contents[f"annotations/{split}.json"] = annotations[split].encode()
        contents[f"data/{split}/index.json"] = wids_index(release.name, tars)
    if made.earlier:
        contents |= _changes(release, made.earlier, parts)
    with_tars = [split for split, tars in parts.tars.items() if tars]
    return contents | {
        "manifest.parquet": encode_manifest(parts.rows),
        "licenses.csv": licenses.encode(),
        "NOTICE": notice(f"{release.name} {release.version}", licenses.counts),
        "README.md": card(release, config.policy, parts.rows, made.made_with, with_tars),
        **page_files(parts.rows, page_about(release, config.policy, made.made_with)),
    }


def _changes(release: ReleaseConfig, earlier: Earlier, parts: _Parts) -> dict[str, bytes]:
    masks = {key: image.mask for key, image in parts.surveyed.items()}
    changes = changes_since(earlier, parts.rows, masks)
    accepted = sum(row["verdict"] == "accepted" for row in parts.rows)
    return change_files(release.name, release.version, earlier, changes, accepted)


def sha256_sums(files: Sequence[StoredFile]) -> bytes:
    """As `sha256sum --check` reads them."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in files).encode()


def _publish(made: _Making, name: str, content: bytes) -> StoredFile:
    made.confirm()
    record = storage.publish(storage.join(made.folder, name), content)
    return StoredFile(name=name, file_bytes=record.file_bytes, sha256=record.sha256)
