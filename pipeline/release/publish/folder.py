"""A finished release to where others get it: uploaded, read back, and only then visible.

TARGET/NAME-VERSION/…               the files; a release whose `release.json` is missing is none
TARGET/NAME-VERSION/release.json    written last, by exclusive create
TARGET/LATEST                       name of the release that was pushed last; the only file here that ever changes

Readers trust `release.json` alone, so half an upload is never seen. An upload that ended early is gone on with: files
that are there with the recorded sums are not sent again. That is for folders and buckets; for the Hugging Face Hub
see `hub.py`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.errors import ReleaseExistsError, StorageError, StorageUnavailableError, UnsoundReleaseError
from pipeline.files import storage
from pipeline.records import StoredFile
from pipeline.release.check.verify import ReleaseCheck, verify_release
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.strays import stray_files

LATEST = "LATEST"
HUB = "hf://"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What was, or would be, done."""

    target: str
    """Where the release lies then."""
    sha256: str
    """Of its `release.json`."""
    sent: tuple[str, ...]
    """Files, below the release."""
    sent_bytes: int
    there: tuple[str, ...]
    """Files that were there already, most often from an upload that ended early."""
    operations: tuple[str, ...]
    """Everything that changes the target, in order."""


def push_release(
    release: str,
    target: str,
    *,
    dry_run: bool = False,
    loaders: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> PushReport:
    """Copy a release to a folder, a bucket or the Hugging Face Hub, check the copy, and make it visible.

    Args:    release: its folder or URL. target: folder or URL of all releases, or hf://datasets/ORG/NAME.
             dry_run: change nothing, only say what would be.
             loaders: see `verify_release`.
             report: called with what is done next.
    Raises:  UnsoundReleaseError: the release has problems.
             StorageError: what arrived is not what was sent, or files are at the target that nobody knows.
             ReleaseExistsError: the version is at the target, and is another one. CollectionError: there is no release.
             UsageError: the target can't be one, or nobody is logged in there.
    """
    if target.startswith(HUB):
        from pipeline.release.publish.hub import push_to_hub

        return push_to_hub(release, target, dry_run=dry_run, loaders=loaders, report=report)
    report(f"checking {release}")
    check = sound_release(release, loaders, report)
    name = f"{check.name}-{check.version}"
    record = storage.read(storage.join(release, RELEASE_JSON))
    folder = storage.join(target, name)
    _refuse_other(folder, record)
    files = [StoredFile(**file) for file in json.loads(record)["files"]]
    remains = _remains(folder, files)
    visible = storage.exists(storage.join(folder, RELEASE_JSON))
    there, left = list[StoredFile](), list[StoredFile]()
    for file in files:
        (there if _is_there(folder, file) else left).append(file)
    if not dry_run:
        for remain in remains:
            storage.remove(storage.join(folder, remain))
        for file in left:
            report(f"sending {file.name}, {file.file_bytes} bytes")
            storage.copy_checked(storage.join(folder, file.name), storage.join(release, file.name), file)
        _make_visible(folder, record, left, report)
        storage.publish(storage.join(target, LATEST), f"{name}\n".encode())
    return PushReport(
        target=folder,
        sha256=check.sha256,
        sent=tuple(file.name for file in left),
        sent_bytes=sum(file.file_bytes for file in left),
        there=tuple(file.name for file in there),
        operations=(
            *(f"remove {name}/{remain}" for remain in remains),
            *(f"write {name}/{file.name}, {file.file_bytes} bytes" for file in left),
            *([] if visible else [f"write {name}/{RELEASE_JSON}, {len(record)} bytes"]),
            f"write {LATEST}, which says {name} then",
        ),
    )


def sound_release(release: str, loaders: bool, report: Callable[[str], None]) -> ReleaseCheck:
    """What the check of a release says of it, with or without the libraries of its users.

    Raises: UnsoundReleaseError: it has problems. CollectionError: there is no release.
    """
    check = verify_release(release, loaders=loaders, report=report)
    if check.problems:
        first = check.problems[0]
        raise UnsoundReleaseError(
            f"{release} is not published: {len(check.problems)} problems, {first.where}: {first.what} for example; "
            "jobs/verify_release.py names all"
        )
    return check


def _refuse_other(folder: str, record: bytes) -> None:
    url = storage.join(folder, RELEASE_JSON)
    if storage.exists(url) and storage.read(url) != record:
        raise ReleaseExistsError(
            f"{folder} is published already, and is another release; a version is never changed: build it with another "
            "--version"
        )


def _remains(folder: str, files: Sequence[StoredFile]) -> list[str]:
    """What is left of a killed upload, to be removed; anything else is not ours to remove."""
    strays = list(stray_files(folder, {RELEASE_JSON, *(file.name for file in files)}))
    for name in strays:
        if not storage.is_unfinished(name.rpartition("/")[2]):
            raise StorageError(
                f"{storage.join(folder, name)} is no file of this release: look what it is, remove it, then the same "
                "command goes on"
            )
    return strays


def _is_there(folder: str, file: StoredFile) -> bool:
    url = storage.join(folder, file.name)
    if not storage.exists(url):
        return False
    try:
        storage.check(url, file)
    except StorageUnavailableError:
        raise
    except StorageError:
        return False  # torn, or of another try: sent again
    return True


def _make_visible(folder: str, record: bytes, sent: Sequence[StoredFile], report: Callable[[str], None]) -> None:
    """Check what arrived just now, byte by byte (the rest was checked before); then write `release.json`."""
    for file in sent:
        report(f"reading {file.name} back")
        storage.check(storage.join(folder, file.name), file)
    if not storage.create(storage.join(folder, RELEASE_JSON), record):
        _refuse_other(folder, record)  # somebody else was faster
