"""A finished release to where others get it: uploaded, read back, and only then visible.

TARGET/NAME-VERSION/…               the files; a release whose `release.json` is missing is none
TARGET/NAME-VERSION/release.json    written last, by exclusive create
TARGET/LATEST                       name of the release that was pushed last; the only file here that ever changes

Readers trust `release.json` alone, so half an upload is never seen. An upload that ended early is gone on with: files
that are there with the recorded sums are not sent again.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline import storage
from pipeline.errors import ReleaseExistsError, StorageError, StorageUnavailableError, UnsoundReleaseError
from pipeline.records import FileRecord
from pipeline.release.assemble import RECORD
from pipeline.release.verify import ReleaseCheck, stray_files, verify_release

log = logging.getLogger(__name__)

LATEST = "LATEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What was, or would be, sent."""

    target: str
    """Where the release lies then."""
    sha256: str
    """Of its `release.json`."""
    sent: tuple[str, ...]
    """Files, below the release."""
    sent_bytes: int
    there: tuple[str, ...]
    """Files that were there from an upload that ended early."""


def push_release(
    release: str, target: str, *, dry_run: bool = False, report: Callable[[str], None] = lambda line: None
) -> PushReport:
    """Copy a release to a folder or bucket, check the copy, and make it visible.

    Args:    release: its folder or URL. target: folder or URL of all releases.
             dry_run: send nothing, only say what would be.
             report: called with what is done next.
    Raises:  UnsoundReleaseError: the release has problems.
             StorageError: what arrived is not what was sent, or files are at the target that nobody knows.
             ReleaseExistsError: the version is at the target, and is another one. CollectionError: there is no release.
    """
    report(f"checking {release}")
    check = _sound(release)
    record = storage.read(storage.join(release, RECORD))
    folder = storage.join(target, f"{check.name}-{check.version}")
    _refuse_other(folder, record)
    files = [FileRecord(**file) for file in json.loads(record)["files"]]
    _refuse_strays(folder, files, dry_run)
    there = [file for file in files if _is_there(folder, file)]
    left = [file for file in files if file not in there]
    if not dry_run:
        for file in left:
            report(f"sending {file.name}, {file.file_bytes} bytes")
            storage.publish(
                storage.join(folder, file.name), storage.read_checked(storage.join(release, file.name), file)
            )
        _make_visible(folder, record, report)
        storage.publish(storage.join(target, LATEST), f"{check.name}-{check.version}\n".encode())
    return PushReport(
        target=folder,
        sha256=check.sha256,
        sent=tuple(file.name for file in left),
        sent_bytes=sum(file.file_bytes for file in left),
        there=tuple(file.name for file in there),
    )


def _sound(release: str) -> ReleaseCheck:
    check = verify_release(release)
    if check.problems:
        first = check.problems[0]
        raise UnsoundReleaseError(
            f"{release} is not published: {len(check.problems)} problems, {first.where}: {first.what} for example; "
            "jobs/verify_release.py names all"
        )
    return check


def _refuse_other(folder: str, record: bytes) -> None:
    url = storage.join(folder, RECORD)
    if storage.exists(url) and storage.read(url) != record:
        raise ReleaseExistsError(
            f"{folder} is published already, and is another release; a version is never changed: build it with another "
            "--version"
        )


def _refuse_strays(folder: str, files: Sequence[FileRecord], dry_run: bool) -> None:
    """What is left of a killed upload is removed; anything else is not ours to remove."""
    for name in list(stray_files(folder, {RECORD, *(file.name for file in files)})):
        if not storage.is_unfinished(name.rpartition("/")[2]):
            raise StorageError(
                f"{storage.join(folder, name)} is no file of this release: look what it is, remove it, then the same "
                "command goes on"
            )
        if not dry_run:
            storage.remove(storage.join(folder, name))


def _is_there(folder: str, file: FileRecord) -> bool:
    url = storage.join(folder, file.name)
    if not storage.exists(url):
        return False
    try:
        storage.read_checked(url, file)
    except StorageUnavailableError:
        raise
    except StorageError:
        return False  # torn, or of another try: sent again
    return True


def _make_visible(folder: str, record: bytes, report: Callable[[str], None]) -> None:
    """Check what arrived, byte by byte; then write `release.json`."""
    for file in json.loads(record)["files"]:
        report(f"reading {file['name']} back")
        storage.read_checked(storage.join(folder, file["name"]), FileRecord(**file))
    if not storage.create(storage.join(folder, RECORD), record):
        _refuse_other(folder, record)  # somebody else was faster
