"""What can be known about a release before any image is computed: requests that must fail are refused here.

Nothing is written. `run.py`, `forecast.py` and `sod release build` call this first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from model.documents import parse_json
from pipeline.collection.collection import Collection, License, license_of
from pipeline.collection.instances import NO_INSTANCES
from pipeline.config import RunConfig
from pipeline.errors import ConfigError, ReleaseExistsError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.trials import before_work
from pipeline.passes.folder import PassValues
from pipeline.release.attempt import refuse_leftovers
from pipeline.release.changes import read_earlier
from pipeline.release.contact_sheet import NAME as CONTACT_SHEET
from pipeline.release.identity import RELEASE_JSON, check_identity, identity_of, release_folder
from pipeline.release.passes import read_passes, wanted_passes
from pipeline.release.source import ReleaseSource, with_collection
from pipeline.runs.candidates import FOLDER as CANDIDATES
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.runs.machine import DEVICE, made_on
from pipeline.runs.run_file import document_name, newest_document
from pipeline.runs.sweep import FOLDERS
from pipeline.selection.policy import PolicyConfig, parse_threshold
from pipeline.selection.scores import CROSS_CHECKS
from pipeline.selection.verdicts import is_allowed
from pipeline.shown import shown

_KNOWN_LATER = ("candidates", "instances")
"""Fields of a release's identity that follow from the candidates."""


def refuse_unbuildable(config: RunConfig, collection: Collection) -> None:
    """Refuse a policy that can accept no image of the collection or names a score that there is not, a score pass that
    the run does not have, and an earlier release that can't be read.

    Raises: ConfigError: one of these. StorageUnavailableError: the earlier release's storage does not answer.
    """
    wanted_passes(config)
    _refuse_policy(config.policy, collection)
    if config.release.previous:
        try:
            with before_work("--previous"):
                read_earlier(config.release.previous)
        except StorageUnavailableError:
            raise
        except StorageError as error:
            raise ConfigError(str(error)) from error


def refuse_foreign(out: str) -> None:
    """Refuse a folder that is no run, and holds what a run would replace or remove.

    A session that was killed before there was a `run.json` leaves a lease, parts of a plan and unfinished files, whose
    names are hidden; none of them is refused.
    Raises: ConfigError: it is such a folder. StorageUnavailableError: it can't be read.
    """
    folders = {CANDIDATES, *FOLDERS} - {"plan"}
    names = {document_name(0), CONTACT_SHEET, DEVICE, *folders}.intersection(storage.list_names(out))
    found = sorted(name for name in names if name not in folders or storage.list_names(storage.join(out, name)))
    if found and not _is_run(out):
        raise ConfigError(
            f"--out {shown(out)} exists, and holds files that are of no run ({', '.join(found)}); give another --out"
        )


def _is_run(out: str) -> bool:
    """Is it the folder of a run? Of one that is damaged, shard records or a part of the plan are left."""
    plan = storage.list_names(storage.join(out, "plan"))
    if committed_shards(out) or any(name.endswith(".parquet") for name in plan):
        return True
    try:
        return newest_document(out)[0] >= 0
    except StorageUnavailableError:
        raise
    except StorageError:
        return False


def is_released(config: RunConfig) -> bool:
    """Does the run have a release of the requested name and version?"""
    return storage.exists(storage.join(release_folder(config), RELEASE_JSON))


def refuse_taken_version(
    config: RunConfig, collection: Collection, made_with: Mapping[str, str], *, retries: bool
) -> None:
    """Refuse a version that exists and was made from something else.

    Args:   made_with: the run's fingerprint, with the plan.
            retries: failed images will be tried again, so the requested release may have other candidates.
    Raises: ReleaseExistsError: the version is taken; names what differs.
    """
    folder = release_folder(config)
    if not is_released(config):
        refuse_leftovers(folder)
        return
    previous = config.release.previous
    passes: tuple[PassValues, ...] = ()
    if wanted_passes(config) or config.policy.combination:
        passes = read_passes(config, read_shard_records(config.out, sorted(committed_shards(config.out))))
    config = with_collection(config, collection.name, collection.url)
    identity = identity_of(
        ReleaseSource(
            run=config.out,
            specs=(),
            records={},
            rows={},
            licenses=collection.licenses,
            origins=collection.origins,
            instances=NO_INSTANCES,
            passes=passes,
        ),
        config,
        {**made_with, **made_on(config.out)},
        storage.stored_file(RELEASE_JSON, storage.read(storage.join(previous, RELEASE_JSON))).sha256
        if previous
        else "",
    )
    check_identity(folder, identity | _known_later(storage.join(folder, RELEASE_JSON)))
    if retries:
        raise ReleaseExistsError(
            f"{folder} exists, and was made before its failed images were tried again. Give another --version"
        )


def _known_later(url: str) -> dict[str, object]:
    try:
        made_from = parse_json(storage.read(url))["made_from"]
        return {name: made_from[name] for name in _KNOWN_LATER}
    except (ValueError, KeyError, TypeError):
        return {}  # `check_identity` says what is wrong with it


def _refuse_policy(policy: PolicyConfig, collection: Collection) -> None:
    bounded = [text for text in policy.thresholds if parse_threshold(text).score in CROSS_CHECKS]
    if policy.target_images and policy.rank_by in CROSS_CHECKS:
        bounded.append(f"rank_by {policy.rank_by}")
    if bounded and not collection.has_instances:
        raise ConfigError(
            f"{bounded[0]} needs outlines of instances, and there are none, so no image could be accepted. "
            "Leave it out, or give annotations with outlines"
        )
    licenses = {sample.license_id: license_of(sample, collection.licenses) for sample in collection.samples}
    if not any(is_allowed(number, licence.url, policy) for number, licence in licenses.items()):
        found = ", ".join(
            f"{number} ({licence.url or 'no address'}: {_excluded_by(licence, policy)})"
            if policy.commercial
            else str(number)
            for number, licence in sorted(licenses.items())
        )
        wanted = f"allowed_licenses {', '.join(map(str, policy.allowed_licenses))}" if policy.allowed_licenses else ""
        asked = " and ".join(filter(None, (wanted, "commercial" if policy.commercial else "")))
        raise ConfigError(f"{asked} allows no image: the images have the licences {found}{_unknown(licenses)}")


def _excluded_by(licence: License, policy: PolicyConfig) -> str:
    reasons = {
        "not in allowed_licenses": replace(policy, commercial=False),
        "not known to allow commercial use and changes": replace(policy, allowed_licenses=()),
    }
    return ", ".join(why for why, alone in reasons.items() if not is_allowed(licence.id, licence.url, alone))


def _unknown(licenses: Iterable[int]) -> str:
    """What to do where no licence is known."""
    return "; 0: none is known, --metadata TABLE tells them" if 0 in licenses else ""
