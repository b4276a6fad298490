"""Assembles a release from candidates: tars, annotations, manifest, card, page, and `release.json` last.

Needs no model. Every byte follows from the inputs, the candidates and the configuration; neither the order of the work
nor where it runs makes a difference.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from pipeline.collection.instances import UNCHECKED
from pipeline.config import ClusterConfig, RunConfig
from pipeline.errors import ConfigError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.progress.stages import say, stage
from pipeline.progress.words import amount
from pipeline.records import CandidateRow, StoredFile, Verdict
from pipeline.release.accepting import judged, refuse_empty, refuse_unmeasured
from pipeline.release.attempt import attempt, finish, refuse_leftovers, sweep_attempts
from pipeline.release.changes import Earlier, read_earlier
from pipeline.release.contents import SUMS, Outcome, is_described, sha256_sums, texts_of
from pipeline.release.croissant import CROISSANT, croissant
from pipeline.release.croissant_texts import CroissantAbout
from pipeline.release.identity import FORMAT, RELEASE_JSON, check_identity, identity_of, release_folder, texts_digest
from pipeline.release.manifest import NOWHERE, SCENE, Place, manifest_row
from pipeline.release.pictures import Known, known_of
from pipeline.release.source import ReleaseSource, bound_shards, portions
from pipeline.release.survey import Survey, Surveyed, SurveyTask, plan_survey, shown_photos, survey
from pipeline.release.tar_series import (
    PlannedTar,
    ReleasedTar,
    TarTask,
    facts_json,
    plan_tars,
    tar_member_bytes,
    write_tar,
)
from pipeline.replicas.tasks import spread, workers
from pipeline.selection.policy import PolicyConfig, parse_splits, split_of
from pipeline.selection.verdicts import count_reasons, scene_of

log = logging.getLogger(__name__)

Task = TypeVar("Task", SurveyTask, TarTask)
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """What the steps of an assembly share."""

    source: ReleaseSource
    config: RunConfig
    folder: str
    """Where the files are written; see `attempt`."""
    made_with: Mapping[str, str]
    earlier: Earlier | None
    confirm: Callable[[], None]


def assemble(
    source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str], confirm: Callable[[], None] = lambda: None
) -> str:
    """Make the release that `config` names, unless it exists.

    Args:    made_with: the fingerprint of the run.
             confirm: called before every write; it ends the work by raising, so that a session that has lost the run
             does not go on for nothing.
    Returns: the folder of the release.
    Raises:  ReleaseExistsError: the version exists and was made from something else.
             StorageError: an image has changed or disappeared since it was predicted.
    """
    folder = release_folder(config)
    earlier = read_earlier(config.release.previous) if config.release.previous else None
    identity = identity_of(source, config, made_with, earlier.sha256 if earlier else "")
    if storage.exists(storage.join(folder, RELEASE_JSON)):
        check_identity(folder, identity)
        log.info("release %s is complete", folder)
        return folder
    refuse_leftovers(folder)
    refuse_unmeasured(source, config)
    refuse_empty(judged(source, config, None), config)
    confirm()
    sweep_attempts(folder)
    with attempt(folder) as place:
        made = _Making(
            source=source, config=config, folder=place, made_with=made_with, earlier=earlier, confirm=confirm
        )
        contents = _write_contents(made)
        named = {"name": config.release.name, "version": config.release.version, "made_from": identity}
        release = {"format": FORMAT, "texts": texts_digest(), **named, **contents}
        confirm()
        if not finish(place, folder, encode_json(release), [file["name"] for file in contents["files"]]):
            check_identity(folder, identity)
    return folder


def _write_contents(made: _Making) -> dict[str, Any]:
    """Write all files except `release.json`; return what that one says about them."""
    source, config, folder = made.source, made.config, made.folder
    known = known_of(source, config.release, config.policy)
    tasks = plan_survey(source, folder, shown_photos(source, config), known, config)
    with workers(config.cluster, len(tasks)) as cluster:
        surveys = _spread("looking at the candidates", survey, tasks, cluster, made.confirm)
        surveyed = {image.key: image for answer in surveys for image in answer.images}
        verdicts = judged(source, config, {key: image.checked for key, image in surveyed.items()})
        _refuse_empty(verdicts, made, surveys)
        planned = _plan(source, surveyed, verdicts, config)
        say(f"{sum(len(tar.keys) for tar in planned)} images accepted; writing {amount(len(planned), 'tars')}")
        tasks_of_tars = _tar_tasks(planned, made, surveyed, known)
        written = _spread("writing the tars", write_tar, tasks_of_tars, cluster, made.confirm)
    tars: dict[str, list[ReleasedTar]] = {split: [] for split in parse_splits(config.release.splits)}
    for tar, one in zip(planned, written, strict=True):
        tars[tar.split].append(one)
    outcome = Outcome(rows=_rows(made, surveyed, verdicts, planned), surveyed=surveyed, tars=tars)
    counts = {decision: sum(reasons.values()) for decision, reasons in count_reasons(verdicts.values()).items()}
    files = [sheet for answer in surveys for sheet in answer.sheets] + [tar.file for tar in written]
    files += _write_texts(made, outcome, counts, files)
    without_photo = [key for answer in surveys for key in answer.without_photo]
    if without_photo:
        log.warning(
            "%d photos have disappeared or changed (key %s, for example): the page does not show them",
            len(without_photo),
            without_photo[0],
        )
    return {
        "counts": counts,
        "files": [asdict(file) for file in _by_name(files)],
        "shards": bound_shards(source, {key: image.maps_sha256 for key, image in surveyed.items()}),
        "without_thumbnail": without_photo,
    }


def _spread(
    doing: str,
    function: Callable[[Task], Answer],
    tasks: Sequence[Task],
    cluster: ClusterConfig,
    confirm: Callable[[], None],
) -> list[Answer]:
    """`spread`, with its images counted task by task."""
    images = [sum(len(portion.images) for portion in task.portions) for task in tasks]
    with stage(doing, sum(images), "images", every_s=cluster.progress_every_s) as shown:
        done = iter(images)

        def count(_: Answer) -> None:
            confirm()
            shown.advance(next(done))

        return spread(function, tasks, cluster, count)


def _refuse_empty(verdicts: Mapping[str, Verdict], made: _Making, surveys: Sequence[Survey]) -> None:
    """Refuse a release of no image; sheets that lie where the release was to be do not stay.

    Raises: ConfigError: see `refuse_empty`.
    """
    try:
        refuse_empty(verdicts, made.config)
    except ConfigError:
        for sheet in (sheet for answer in surveys for sheet in answer.sheets):
            storage.remove(storage.join(made.folder, sheet.name))
        raise


def _write_texts(
    made: _Making, outcome: Outcome, counts: Mapping[str, int], written: Sequence[StoredFile]
) -> list[StoredFile]:
    """Write the texts: first those about images, then those about files; `written` are the sheets and tars."""
    with stage("writing manifest, card and page"):
        texts = texts_of(made.source, made.config, made.made_with, made.earlier, outcome)
        files = [_publish(made, name, content) for name, content in sorted(texts.items())]
    about = CroissantAbout(
        release=made.config.release,
        policy=made.config.policy,
        counts=counts,
        made_with=made.made_with,
        passes=made.source.stated_passes,
    )
    described = [file for file in _by_name([*written, *files]) if is_described(file.name)]
    files.append(_publish(made, CROISSANT, croissant(about, described)))
    files.append(_publish(made, SUMS, sha256_sums(_by_name([*written, *files]))))
    return files


def _by_name(files: Sequence[StoredFile]) -> list[StoredFile]:
    return sorted(files, key=lambda file: file.name)


def _plan(
    source: ReleaseSource, surveyed: Mapping[str, Surveyed], verdicts: Mapping[str, Verdict], config: RunConfig
) -> list[PlannedTar]:
    """Decide which accepted image goes into which tar, split after split."""
    shares = parse_splits(config.release.splits)
    sizes: dict[str, list[tuple[str, int]]] = {split: [] for split in shares}
    for sample, row in source.images():
        if verdicts[row.key].decision == "accepted":
            facts = facts_json(sample, row, source.license_of(sample))
            size = surveyed[row.key].map_bytes + tar_member_bytes(len(facts))
            if config.release.embed_images:
                size += tar_member_bytes(surveyed[row.key].released.file_bytes)
            sizes[split_of(row.key, shares)].append((row.key, size))
    return [tar for split in shares for tar in plan_tars(split, sizes[split], config.release.tar_bytes)]


def _tar_tasks(
    planned: Sequence[PlannedTar], made: _Making, surveyed: Mapping[str, Surveyed], known: Mapping[str, Known]
) -> list[TarTask]:
    source, config = made.source, made.config
    return [
        TarTask(
            folder=made.folder,
            name=tar.name,
            portions=found,
            licenses={
                image.sample.key: source.license_of(image.sample) for portion in found for image in portion.images
            },
            release=config.release,
            known={key: known[key] for key in tar.keys if key in known},
            released_sha256={key: surveyed[key].released.sha256 for key in tar.keys},
            max_image_bytes=config.input.max_image_bytes,
        )
        for tar, found in zip(planned, portions(source, [tar.keys for tar in planned]), strict=True)
    ]


def _rows(
    made: _Making,
    surveyed: Mapping[str, Surveyed],
    verdicts: Mapping[str, Verdict],
    planned: Sequence[PlannedTar],
) -> list[dict[str, Any]]:
    source, policy = made.source, made.config.policy
    places = {
        key: Place(
            split=tar.split,
            tar=tar.name,
            sample_offset=offset,
            sample_bytes=sample_bytes,
            mask_sha256=surveyed[key].mask_sha256,
            released=surveyed[key].released,
        )
        for tar in planned
        for key, offset, sample_bytes in tar.places()
    }
    return [
        manifest_row(
            sample,
            row,
            source.license_of(sample),
            verdicts[row.key],
            places.get(row.key, NOWHERE),
            surveyed[row.key].checked if row.key in surveyed else UNCHECKED,
            surveyed[row.key].maps_sha256 if row.key in surveyed else "",
            added=source.added(row.key) | _scene(source, row, verdicts[row.key], policy),
            origin=source.origin_of(sample),
            instances_ignored=source.instances.ignored.get(row.key, 0),
        )
        for sample, row in source.images()
    ]


def _scene(source: ReleaseSource, row: CandidateRow, verdict: Verdict, policy: PolicyConfig) -> dict[str, str]:
    """The column that a manifest has if the policy keeps empty scenes."""
    scores = {**row.scores, **source.added_scores(row.key)}
    return {SCENE.name: scene_of(scores, verdict, policy)} if policy.keep_empty else {}


def _publish(made: _Making, name: str, content: bytes) -> StoredFile:
    made.confirm()
    return replace(storage.add(storage.join(made.folder, name), content), name=name)
