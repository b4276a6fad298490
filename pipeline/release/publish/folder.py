"""Publish a release in a folder or bucket: send every file, read it back, and only then make the release visible.

TARGET/NAME-VERSION/…               the files; without `release.json` they are not a release
TARGET/NAME-VERSION/release.json    written last, by exclusive create
TARGET/NAME-VERSION/annex/1/…       added afterwards, also to a version that was published before; so are signatures
TARGET/LATEST                       name of the release that was pushed last; the only file here that ever changes
TARGET/.latest/000007               the name as the seventh push of a release claimed it; only the newest is kept

On a local disk the files are collected in TARGET/.NAME-VERSION.DIGEST.tmp, which is renamed once all are there. Stores
can't rename; there each file is created exclusively. So a push that was paused, and wakes up after another one has
published this version, changes nothing.

Readers trust `release.json` alone, so nobody sees half an upload. Pushing again resumes an interrupted upload: files
that arrived with the recorded sums are not sent again.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from model.disk import with_room
from pipeline.errors import ReleaseExistsError, StorageError, StorageUnavailableError, UsageError
from pipeline.files import storage, urls
from pipeline.files.trials import require_exclusive_create
from pipeline.preconditions import require_outside
from pipeline.progress.stages import counted, say
from pipeline.records import StoredFile
from pipeline.release.attempt import finish, refuse_leftovers
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.publish.additions import may_be_added
from pipeline.release.publish.files import has_arrived, send
from pipeline.release.publish.folder_additions import files_left, refuse_different_additions, send_addition
from pipeline.release.publish.report import OutgoingRelease, PushReport, outgoing_release, require_sound
from pipeline.release.strays import stray_files

LATEST = "LATEST"


def push_to_folder(
    release: str,
    target: str,
    *,
    dry_run: bool = False,
    loaders: bool = False,
) -> PushReport:
    """Publish a release below a folder or URL; see `push_release`."""
    ours = outgoing_release(release)
    name = f"{ours.name}-{ours.version}"
    folder = storage.join(target, name)
    _refuse_target(ours, target, folder)
    if not dry_run:
        require_exclusive_create(target)
    require_sound(ours, loaders)
    _refuse_different_release(folder, ours)  # the check took a while
    refuse_different_additions(folder, ours.additions)
    visible = storage.exists(storage.join(folder, RELEASE_JSON))
    ending = f".{ours.sha256[:16]}.tmp"
    collected = storage.join(target, f".{with_room(name, 1 + len(ending))}{ending}")
    place = folder if visible or not urls.is_local(target) else collected
    # A push that adds an annex to an older version does not make that the newest one.
    points = not (visible and ours.additions and storage.exists(storage.join(target, LATEST)))
    if not points:
        say(f"{LATEST} stays as it is, as this version was published before")
    unfinished = _unfinished_files(place, ours)
    there, left = list[StoredFile](), list[StoredFile]()
    files = [file for file in ours.files.values() if file.name != RELEASE_JSON]
    for file in counted("looking for what has arrived before", files, len(files), "files"):
        (there if has_arrived(place, file) else left).append(file)
    if not dry_run:
        try:
            _send(place, folder, ours, unfinished, left, visible=visible)
        except (StorageError, FileNotFoundError):
            if place == folder or not storage.exists(storage.join(folder, RELEASE_JSON)):
                raise
            storage.remove_tree(place)  # this version is published: nobody needs what was collected any more
            _refuse_overtaken(folder, ours)  # else another push of this release has taken the collected files
        if points:
            _point_latest(target, name)
    added = _add(ours, folder, dry_run)
    there += [file for addition in ours.additions for file in addition.files if file not in added]
    return PushReport(
        target=folder,
        sha256=ours.sha256,
        sent=tuple(file.name for file in (*left, *added)),
        sent_bytes=sum(file.file_bytes for file in (*left, *added)),
        there=tuple(file.name for file in there),
        operations=(
            *(f"remove {remain}" for remain in unfinished),
            *(f"write {name}/{file.name}, {file.file_bytes} bytes" for file in left),
            *([] if visible else [f"write {name}/{RELEASE_JSON}, {len(ours.release_json)} bytes"]),
            *([f"write {LATEST} with the name {name}"] if points else []),
            *(f"write {name}/{file.name}, {file.file_bytes} bytes" for file in added),
        ),
    )


def _add(release: OutgoingRelease, folder: str, dry_run: bool) -> list[StoredFile]:
    """Send the annexes and signatures that the published release lacks. Returns: their files, in order."""
    added = list[StoredFile]()
    for addition in release.additions:
        left = files_left(folder, addition)
        if left and not dry_run:
            send_addition(folder, release.folder, addition, left)
        added += left
    return added


def _refuse_target(release: OutgoingRelease, target: str, folder: str) -> None:
    """Refuse what a look at the target shows to be impossible, before anything is checked or sent."""
    require_outside(target, release.folder, "TARGET")
    for place in (target, folder):
        if urls.is_local(place):
            path = Path(place)
            existing = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
            if not existing.is_dir():
                raise UsageError(f"{target} can't hold releases: {existing} is not a folder")
            if not os.access(existing, os.W_OK | os.X_OK):
                raise UsageError(f"{target} can't hold releases: you have no permission to write to {existing}")
        elif storage.is_file(place):
            raise UsageError(f"{target} can't hold releases: {place} is not a folder")
    _refuse_different_release(folder, release)
    refuse_different_additions(folder, release.additions)
    _unfinished_files(folder, release)
    refuse_leftovers(folder)


def _refuse_different_release(folder: str, release: OutgoingRelease) -> None:
    if _is_different_release(folder, release):
        raise ReleaseExistsError(
            f"{folder} is already published, as a different release; a published version never changes: build the "
            "release with another --version"
        )


def _is_different_release(folder: str, release: OutgoingRelease) -> bool:
    url = storage.join(folder, RELEASE_JSON)
    return storage.exists(url) and storage.read(url) != release.release_json


def _unfinished_files(folder: str, release: OutgoingRelease) -> list[str]:
    """Unfinished files of a killed upload, which a push removes.

    Raises: UsageError: the folder has other files that are not part of the release; only their owner may remove them.
    """
    known = {*release.files, *(file.name for addition in release.additions for file in addition.files)}
    strays = [name for name in stray_files(folder, known) if not may_be_added(name)]
    for name in strays:
        if not storage.is_unfinished(name.rpartition("/")[2]):
            raise UsageError(
                f"{storage.join(folder, name)} is not a file of this release: find out what it is, remove it, and run "
                "the same command again"
            )
    return strays


def _send(
    place: str,
    folder: str,
    release: OutgoingRelease,
    unfinished: Sequence[str],
    left: Sequence[StoredFile],
    *,
    visible: bool,
) -> None:
    """Send the files that are left, read them back, and make the release visible if it is not."""
    for remain in unfinished:
        storage.remove(storage.join(place, remain))
    # Only this release has files in its own place, and in the folder once it is visible: what differs there is damaged.
    # In a store's folder it may be a file of another release of this version.
    send(place, release.folder, left, replace=visible or place != folder)
    if not visible and not finish(place, folder, release.release_json, release.files.keys() - {RELEASE_JSON}):
        if place != folder:
            storage.remove_tree(place)
        _refuse_overtaken(folder, release)


def _refuse_overtaken(folder: str, release: OutgoingRelease) -> None:
    if _is_different_release(folder, release):
        raise StorageError(
            f"{folder}: somebody published a different release of this version during the upload. That one stays; "
            "build this release with another --version"
        )


def _point_latest(target: str, name: str) -> None:
    """Write the name of a release into LATEST.

    Each push claims a number first, and looks again after writing: one that slept in between, while another pushed a
    newer release, finds the other's claim and puts LATEST right.
    """
    claims, latest, content = storage.join(target, ".latest"), storage.join(target, LATEST), f"{name}\n".encode()
    number = _newest_claim(claims) + 1
    if number > 1 and storage.read(storage.join(claims, f"{number - 1:06d}")) == content == _content(latest):
        return
    while not storage.create(storage.join(claims, f"{number:06d}"), content):
        number += 1
    written = 0
    while written != (newest := _newest_claim(claims)):
        storage.publish(latest, storage.read(storage.join(claims, f"{newest:06d}")))
        written = newest
    with contextlib.suppress(StorageUnavailableError):  # a store may permit writing only; old claims do no harm
        for claim in storage.list_names(claims):
            if claim.isdecimal() and int(claim) < written:
                storage.remove(storage.join(claims, claim))


def _content(url: str) -> bytes:
    return storage.read(url) if storage.exists(url) else b""


def _newest_claim(claims: str) -> int:
    return max((int(name) for name in storage.list_names(claims) if name.isdecimal()), default=0)
