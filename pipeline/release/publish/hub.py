"""Publish a release on the Hugging Face Hub: upload it to a pull request, compare it there, merge it, tag it.

refs/pr/N     an upload under way; only readers who name this revision load it
main          the release that was pushed last, as `LATEST` is elsewhere; it changes only by whole merges
vVERSION      tag of the commit that has the release; made last, never moved: what users pin

Annexes and signatures follow once that tag exists: see `hub_additions.py`.

After an interruption at any point, run the same command again to resume. It looks for the tag, then whether `main`
already is the release, then for its own pull request, which is named after the release and the commit of `main` that
it starts from.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.errors import ReleaseExistsError, StorageError, UsageError
from pipeline.files import urls
from pipeline.progress.stages import BYTES, say, stage
from pipeline.progress.words import amount
from pipeline.records import StoredFile
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.publish.hub_additions import add_to_hub, refuse_different_additions
from pipeline.release.publish.hub_api import HubApi, HubRepository, begun, default_api, scrubbed, scrubbed_logs
from pipeline.release.publish.hub_files import files_left, is_same
from pipeline.release.publish.report import OutgoingRelease, PushReport, outgoing_release, require_sound
from pipeline.release.strays import OF_THE_HUB

if TYPE_CHECKING:
    from huggingface_hub import Discussion
    from huggingface_hub.hf_api import RepoFile

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_TARGET = re.compile(rf"hf://datasets/({_PART}/{_PART})/?")
_NEW = {OF_THE_HUB, "README.md"}
"""Files that a new repository may already have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """What has to change in a revision before it is the release."""

    left: tuple[StoredFile, ...]
    """Files to be uploaded."""
    there: tuple[str, ...]
    """Files that are already right."""
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
    api: HubApi | None = None,
) -> PushReport:
    """Make a release the newest one of a dataset repository, and tag it; see `push_release`.

    Args:    release: its local folder. target: hf://datasets/ORG/NAME, a repository that exists.
             api: replaces the real Hub.
    Raises:  UsageError: the target is not a dataset repository, does not exist, or holds other things; the client is
             not installed; nobody is logged in.
             ReleaseExistsError: the version's tag already has a different release.
             StorageUnavailableError: the Hub does not answer, or refuses.
             StorageError: what arrived is not what was sent; then nothing is merged.
    """
    name = _repository_name(target)
    if not urls.is_local(release):
        raise UsageError(
            f"{scrubbed(release)}: an upload to the Hub needs local files; push the release to a local folder first, "
            "then push that copy to the Hub"
        )
    ours = outgoing_release(release)
    with scrubbed_logs():
        hub = HubRepository(api=api or default_api(), name=name)
        user = hub.user()
        _refuse_repository(ours, hub)
        require_sound(ours, loaders)
        pushed = _push(ours, hub, user, dry_run)
        added = add_to_hub(ours, hub, user, dry_run)
        return replace(
            pushed,
            sent=(*pushed.sent, *(file.name for file in added.sent)),
            sent_bytes=pushed.sent_bytes + sum(file.file_bytes for file in added.sent),
            there=(*pushed.there, *(file.name for file in added.there)),
            operations=(*pushed.operations, *added.operations),
        )


def _refuse_repository(ours: OutgoingRelease, hub: HubRepository) -> None:
    """Refuse what the repository's files show to be impossible, before the release is checked."""
    refs = hub.refs()
    if _tag(ours) in refs.tags:
        _refuse_different_release(ours, hub, hub.files(_tag(ours)))
    else:
        _refuse_foreign_files(hub, hub.files(refs.main))
    refuse_different_additions(ours, hub, refs)


def _push(ours: OutgoingRelease, hub: HubRepository, user: str, dry_run: bool) -> PushReport:
    refs = hub.refs()  # the check took a while
    if _tag(ours) in refs.tags:
        return _already_published(ours, hub)
    on_main = hub.files(refs.main)
    difference = _difference(ours, on_main)
    operations: list[str] = []
    if difference:
        _refuse_foreign_files(hub, on_main)
        title = f"Release {ours.name} {ours.version} ({ours.sha256[:16]} on {refs.main[:12]})"
        request = hub.pull_request(title, user)
        if request is not None:
            difference = _difference(ours, hub.files(_reference(request)))
        operations = _operations(difference, title, request)
        if not dry_run:
            with begun():
                if request is None:
                    say(f"opening a pull request: {title}")
                    request = hub.open_pull_request(title, _message(ours))
                _merge(ours, hub, request, difference)
                refs = hub.refs()
                # Somebody may have changed `main` at the same moment. The commit compared here is the one tagged.
                _require_whole(ours, hub, refs.main, "nothing is tagged")
    if not dry_run:
        say(f"making the tag {_tag(ours)}")
        with begun():
            hub.tag(_tag(ours), refs.main, _message(ours))
    return _report(ours, hub, difference, (*operations, f"tag {_tag(ours)}"))


def _merge(
    ours: OutgoingRelease,
    hub: HubRepository,
    request: "Discussion",
    difference: _Difference,
) -> None:
    """Send what the pull request lacks; merge it once it has all files of the release and no others."""
    if difference:
        left_bytes = sum(file.file_bytes for file in difference.left)
        what = f"{amount(len(difference.left), 'files')}, {amount(left_bytes, BYTES)}"
        say(f"sending {what}, to pull request {request.num}: {request.url}")
        names = [file.name for file in difference.left]
        with stage(f"sending {what}"):
            hub.upload(ours.folder, _reference(request), request.title, names, difference.gone)
        _require_whole(ours, hub, _reference(request), "nothing is merged")
    say(f"merging pull request {request.num}")
    hub.merge(request)


def _difference(ours: OutgoingRelease, found: Mapping[str, "RepoFile"]) -> _Difference:
    left = files_left(ours.folder, ours.files.values(), found)
    return _Difference(
        left=tuple(left),
        there=tuple(sorted(ours.files.keys() - {file.name for file in left})),
        gone=tuple(sorted(found.keys() - ours.files.keys() - {OF_THE_HUB})),
    )


def _require_whole(ours: OutgoingRelease, hub: HubRepository, revision: str, consequence: str) -> None:
    difference = _difference(ours, hub.files(revision))
    if difference:
        names = [*(file.name for file in difference.left), *difference.gone]
        raise StorageError(
            f"hf://datasets/{hub.name}@{revision} is not what was sent, so {consequence}; files missing, changed or "
            f"added: {len(names)}, for example {names[0]}. Run the same command again to resend them"
        )


def _already_published(ours: OutgoingRelease, hub: HubRepository) -> PushReport:
    found = hub.files(_tag(ours))
    _refuse_different_release(ours, hub, found)
    difference = _difference(ours, found)
    if difference:
        raise StorageError(
            f"hf://datasets/{hub.name}@{_tag(ours)} has the {RELEASE_JSON} of this release, but not its files, for "
            f"example {(*(file.name for file in difference.left), *difference.gone)[0]}: somebody else made that tag. "
            "Find out what it is; if it should go, remove it on the Hub"
        )
    say(f"{ours.name} {ours.version} is already published: nothing to do")
    return _report(ours, hub, difference, ())


def _refuse_different_release(ours: OutgoingRelease, hub: HubRepository, tagged: Mapping[str, "RepoFile"]) -> None:
    if RELEASE_JSON not in tagged or not is_same(ours.folder, ours.files[RELEASE_JSON], tagged[RELEASE_JSON]):
        raise ReleaseExistsError(
            f"hf://datasets/{hub.name}@{_tag(ours)} is already published, as a different release; a published version "
            "never changes: build the release with another --version"
        )


def _refuse_foreign_files(hub: HubRepository, on_main: Mapping[str, "RepoFile"]) -> None:
    """A release replaces an older one, and nothing else."""
    foreign = sorted(on_main.keys() - _NEW)
    if foreign and RELEASE_JSON not in on_main:
        raise UsageError(
            f"hf://datasets/{hub.name} holds files that are not a release: {len(foreign)}, for example {foreign[0]}; "
            "the push would remove them. Give releases a repository of their own, or remove those files first"
        )


def _operations(difference: _Difference, title: str, request: "Discussion | None") -> list[str]:
    opening = f"open a pull request: {title}" if request is None else f"resume pull request {request.num}: {title}"
    return [
        opening,
        *(f"upload {file.name}, {file.file_bytes} bytes" for file in difference.left),
        *(f"remove {name}" for name in difference.gone),
        "merge the pull request",
    ]


def _report(
    ours: OutgoingRelease, hub: HubRepository, difference: _Difference, operations: Sequence[str]
) -> PushReport:
    return PushReport(
        target=f"hf://datasets/{hub.name}@{_tag(ours)}",
        sha256=ours.sha256,
        sent=tuple(file.name for file in difference.left),
        sent_bytes=sum(file.file_bytes for file in difference.left),
        there=difference.there,
        operations=tuple(operations),
    )


def _message(ours: OutgoingRelease) -> str:
    return f"{ours.name} {ours.version}; the SHA-256 of its {RELEASE_JSON} is {ours.sha256}"


def _tag(ours: OutgoingRelease) -> str:
    return f"v{ours.version}"


def _reference(request: "Discussion") -> str:
    return f"refs/pr/{request.num}"


def _repository_name(target: str) -> str:
    found = _TARGET.fullmatch(target)
    if found is None:
        raise UsageError(
            f"{scrubbed(target)} is not a dataset repository: push to hf://datasets/ORG/NAME; the tag comes from the "
            "version"
        )
    return found[1]
