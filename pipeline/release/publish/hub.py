"""A release to the Hugging Face Hub: uploaded to a pull request, compared there, merged, tagged.

refs/pr/N     an upload under way; nobody loads it without asking for it
main          the release that was pushed last, which `LATEST` is elsewhere; it changes by a merge only, as a whole
vVERSION      tag of the commit that has the release; made last, never moved: what users pin

The same command goes on after an end at any point: it looks for the tag, then for `main` being the release already,
then for its own pull request, which is named after the release and the commit of `main` that it starts from.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import ReleaseExistsError, StorageError, UsageError
from pipeline.files import storage, urls
from pipeline.records import StoredFile
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.publish.folder import PushReport, sound_release
from pipeline.release.publish.hub_api import HubApi, HubRepository, default_api, scrubbed, scrubbed_logs

if TYPE_CHECKING:
    from huggingface_hub import Discussion
    from huggingface_hub.hf_api import RepoFile

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_TARGET = re.compile(rf"hf://datasets/({_PART}/{_PART})/?")
_KEPT = ".gitattributes"
"""The Hub's own: says which files it stores as large ones."""
_NEW = {_KEPT, "README.md"}
"""What a repository may have in it that was made a moment ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Release:
    """A sound release on the local disk."""

    folder: str
    title: str
    version: str
    sha256: str
    files: Mapping[str, StoredFile]
    """`release.json` too."""

    @property
    def tag(self) -> str:
        return f"v{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """What has to happen to a revision so that it is the release."""

    left: tuple[StoredFile, ...]
    there: tuple[str, ...]
    gone: tuple[str, ...]
    """Files of an older release, to be removed."""

    def __bool__(self) -> bool:
        return bool(self.left or self.gone)


def push_to_hub(
    release: str,
    target: str,
    *,
    dry_run: bool = False,
    loaders: bool = False,
    report: Callable[[str], None] = lambda line: None,
    api: HubApi | None = None,
) -> PushReport:
    """Make a release the newest one of a dataset repository, and tag it.

    Args:    release: its local folder. target: hf://datasets/ORG/NAME, which has to be there.
             dry_run: change nothing, only say what would be. loaders: see `verify_release`.
             report: called with what is done next.
             api: stands for the real Hub.
    Raises:  UsageError: the target is no dataset repository, is not there or holds other things; nobody is logged in.
             UnsoundReleaseError: the release has problems. CollectionError: there is none.
             ReleaseExistsError: the version is tagged, and is another release.
             StorageUnavailableError: the Hub does not answer, or refuses.
             StorageError: what arrived is not what was sent; it is not merged then.
    """
    name = _repository_name(target)
    if not urls.is_local(release):
        raise UsageError(
            f"{scrubbed(release)}: an upload to the Hub needs local files; push the release to a local folder first, "
            "then that copy to the Hub"
        )
    report(f"checking {release}")
    ours = _read(release, loaders, report)
    with scrubbed_logs():
        return _push(ours, HubRepository(api=api or default_api(), name=name), dry_run, report)


def _push(ours: _Release, hub: HubRepository, dry_run: bool, report: Callable[[str], None]) -> PushReport:
    user = hub.user()
    refs = hub.refs()
    if ours.tag in refs.tags:
        return _already_published(ours, hub, report)
    on_main = hub.files(refs.main)
    difference = _difference(ours, on_main)
    operations: list[str] = []
    if difference:
        _refuse_foreign(hub, on_main)
        title = f"Release {ours.title} ({ours.sha256[:16]} on {refs.main[:12]})"
        request = hub.pull_request(title, user)
        if request is not None:
            difference = _difference(ours, hub.files(_reference(request)))
        operations = _operations(difference, title, request)
        if not dry_run:
            if request is None:
                report(f"opening a pull request: {title}")
                request = hub.open_pull_request(title, _message(ours))
            _merge(ours, hub, request, difference, report)
            refs = hub.refs()
            # Somebody may have changed `main` at the same moment. The commit is tagged that is compared here.
            _require_whole(ours, hub, refs.main, "nothing is tagged")
    if not dry_run:
        report(f"making the tag {ours.tag}")
        hub.tag(ours.tag, refs.main, _message(ours))
    return _report(ours, hub, difference, (*operations, f"tag {ours.tag}"))


def _read(release: str, loaders: bool, report: Callable[[str], None]) -> _Release:
    check = sound_release(release, loaders, report)
    record = storage.read(storage.join(release, RELEASE_JSON))
    files = [StoredFile(**file) for file in json.loads(record)["files"]] + [storage.stored_file(RELEASE_JSON, record)]
    return _Release(
        folder=release,
        title=f"{check.name} {check.version}",
        version=check.version,
        sha256=check.sha256,
        files={file.name: file for file in sorted(files, key=lambda file: file.name)},
    )


def _merge(
    ours: _Release, hub: HubRepository, request: "Discussion", difference: _Difference, report: Callable[[str], None]
) -> None:
    """Send what is left to the pull request; merge it when all is there and nothing else."""
    if difference:
        left_bytes = sum(file.file_bytes for file in difference.left)
        report(
            f"sending {len(difference.left)} files, {left_bytes} bytes, to pull request {request.num}: {request.url}"
        )
        hub.upload(ours.folder, request, [file.name for file in difference.left], difference.gone)
        _require_whole(ours, hub, _reference(request), "nothing is merged")
    report(f"merging pull request {request.num}")
    hub.merge(request)


def _difference(ours: _Release, found: Mapping[str, "RepoFile"]) -> _Difference:
    left = [file for name, file in ours.files.items() if name not in found or not _is_same(ours, file, found[name])]
    return _Difference(
        left=tuple(left),
        there=tuple(sorted(ours.files.keys() - {file.name for file in left})),
        gone=tuple(sorted(found.keys() - ours.files.keys() - {_KEPT})),
    )


def _is_same(ours: _Release, file: StoredFile, found: "RepoFile") -> bool:
    if found.lfs is not None:
        return (found.lfs.size, found.lfs.sha256) == (file.file_bytes, file.sha256)
    return found.size == file.file_bytes and found.blob_id == _blob_id(ours, file)


def _blob_id(ours: _Release, file: StoredFile) -> str:
    """What git calls a file of that content: of files that are not stored as large ones the Hub has no SHA-256.

    Compared with its record first: a file that changed since the release was checked, and was sent so, is not the same.
    """
    content = storage.read_checked(storage.join(ours.folder, file.name), file)
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _require_whole(ours: _Release, hub: HubRepository, revision: str, but: str) -> None:
    difference = _difference(ours, hub.files(revision))
    if difference:
        names = [*(file.name for file in difference.left), *difference.gone]
        raise StorageError(
            f"hf://datasets/{hub.name}@{revision} is not what was sent: {len(names)} files are missing, others or too "
            f"many there, {names[0]} for example, so {but}. The same command sends them again"
        )


def _already_published(ours: _Release, hub: HubRepository, report: Callable[[str], None]) -> PushReport:
    difference = _difference(ours, hub.files(ours.tag))
    if RELEASE_JSON not in difference.there:
        raise ReleaseExistsError(
            f"hf://datasets/{hub.name}@{ours.tag} is published already, and is another release; a version is never "
            "changed: build it with another --version"
        )
    if difference:
        raise StorageError(
            f"hf://datasets/{hub.name}@{ours.tag} has the {RELEASE_JSON} of this release, but not its files, "
            f"{(*(file.name for file in difference.left), *difference.gone)[0]} for example: somebody else made that "
            "tag. Look what it is; if it is to go, remove it on the Hub"
        )
    report(f"{ours.title} is published already: nothing to do")
    return _report(ours, hub, difference, ())


def _refuse_foreign(hub: HubRepository, on_main: Mapping[str, "RepoFile"]) -> None:
    """A release takes the place of an older one, not of anything else."""
    foreign = sorted(on_main.keys() - _NEW)
    if foreign and RELEASE_JSON not in on_main:
        raise UsageError(
            f"hf://datasets/{hub.name} holds {len(foreign)} files that are no release, {foreign[0]} for example; they "
            "would be removed. Give the releases a repository of their own, or remove those files first"
        )


def _operations(difference: _Difference, title: str, request: "Discussion | None") -> list[str]:
    opening = f"open a pull request: {title}" if request is None else f"go on with pull request {request.num}: {title}"
    return [
        opening,
        *(f"upload {file.name}, {file.file_bytes} bytes" for file in difference.left),
        *(f"remove {name}" for name in difference.gone),
        "merge the pull request",
    ]


def _report(ours: _Release, hub: HubRepository, difference: _Difference, operations: Sequence[str]) -> PushReport:
    return PushReport(
        target=f"hf://datasets/{hub.name}@{ours.tag}",
        sha256=ours.sha256,
        sent=tuple(file.name for file in difference.left),
        sent_bytes=sum(file.file_bytes for file in difference.left),
        there=difference.there,
        operations=tuple(operations),
    )


def _message(ours: _Release) -> str:
    return f"{ours.title}; the SHA-256 of its {RELEASE_JSON} is {ours.sha256}"


def _reference(request: "Discussion") -> str:
    return f"refs/pr/{request.num}"


def _repository_name(target: str) -> str:
    found = _TARGET.fullmatch(target)
    if found is None:
        raise UsageError(
            f"{scrubbed(target)}: a release goes to hf://datasets/ORG/NAME, a dataset repository; its tag is made from "
            "the version"
        )
    return found[1]
