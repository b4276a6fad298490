"""Adds annexes and signatures to a version that is published on the Hugging Face Hub.

main                gets them by one merge, if it is that version
vVERSION-annexes    a branch that gets them if `main` is a newer version, or was edited; it starts at the version's tag
vVERSION-annex-1    tag of the commit that has the annex; made last. So are vVERSION-signed and vVERSION-annex-1-signed

The tag vVERSION stays where it is. An addition is published once it has its tag, or is on `main`; from then on it never
changes. After an interruption at any point, run the same command again to resume.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import StorageError
from pipeline.progress.stages import BYTES, say, stage
from pipeline.progress.words import amount
from pipeline.records import StoredFile
from pipeline.release.annex import ANNEX
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.publish.additions import Addition, may_be_added, refuse_different
from pipeline.release.publish.hub_api import HubRepository, Refs, begun
from pipeline.release.publish.hub_files import files_left, is_same
from pipeline.release.publish.report import OutgoingRelease
from pipeline.release.strays import OF_THE_HUB

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What was added; in a dry run, what would be."""

    sent: tuple[StoredFile, ...] = ()
    there: tuple[StoredFile, ...] = ()
    operations: tuple[str, ...] = ()


def refuse_different_additions(ours: OutgoingRelease, hub: HubRepository, refs: Refs) -> None:
    """Refuse a push if another annex of one of the numbers, or another signature, is published.

    Raises: ReleaseExistsError: it is; the message names it.
    """
    on_main = hub.files(refs.main) if ours.additions else {}
    for addition in ours.additions:
        tag = tag_of(ours, addition)
        if tag in refs.tags:
            found, place = hub.files(tag), tag
        elif _is_this_release(ours, on_main):
            found, place = on_main, "main"
        else:
            continue
        refuse_different(
            f"hf://datasets/{hub.name}@{place}",
            addition,
            {file.name: is_same(ours.folder, file, found[file.name]) for file in addition.files if file.name in found},
        )


def add_to_hub(ours: OutgoingRelease, hub: HubRepository, user: str, dry_run: bool) -> Added:
    """Publish the annexes and signatures of a release whose version is published, each with a tag of its own.

    Raises: StorageError: what arrived is not what was sent, so nothing is merged or tagged, or somebody else has
            published another one of that name meanwhile.
    """
    if not ours.additions:
        return Added()
    with begun():  # the check and the push of the release took a while
        refs = hub.refs()
        refuse_different_additions(ours, hub, refs)
    untagged = [addition for addition in ours.additions if tag_of(ours, addition) not in refs.tags]
    files = [file for addition in ours.additions for file in addition.files]
    if not untagged:
        return Added(there=tuple(files))
    tags = [f"tag {tag_of(ours, addition)}" for addition in untagged]
    is_published = f"v{ours.version}" in refs.tags  # else this is a dry run
    through = _by_branch if is_published and not _is_release_alone(ours, hub.files(refs.main)) else _by_merge
    left, operations, commit = through(ours, hub, user, refs, dry_run)
    if not dry_run:
        with begun():
            for addition in untagged:
                say(f"making the tag {tag_of(ours, addition)}")
                hub.tag(tag_of(ours, addition), commit, f"{addition.name} of {ours.name} {ours.version}")
    there = tuple(file for file in files if file not in left)
    return Added(sent=tuple(left), there=there, operations=(*operations, *tags))


def tag_of(ours: OutgoingRelease, addition: Addition) -> str:
    """The tag of the commit that has an addition."""
    return f"v{ours.version}-{addition.label}"


_Through = tuple[list[StoredFile], list[str], str]
"""The files that are sent, the operations, and the commit that is tagged."""


def _by_merge(ours: OutgoingRelease, hub: HubRepository, user: str, refs: Refs, dry_run: bool) -> _Through:
    """Send the files to a pull request, compare, and merge it."""
    on_main = hub.files(refs.main)
    if not _missing_or_foreign(ours, on_main):  # merged before, but not tagged
        return [], [], refs.main
    title = f"Annexes of {ours.name} {ours.version} ({_digest(ours)} on {refs.main[:12]})"
    request = hub.pull_request(title, user)
    found = on_main if request is None else hub.files(f"refs/pr/{request.num}")
    left = files_left(ours.folder, _added(ours), found)
    operations = [
        "open a pull request for annexes and signatures" if request is None else f"resume pull request {request.num}",
        *_uploads(left),
        "merge the pull request",
    ]
    if dry_run:
        return left, operations, ""
    with begun():
        if request is None:
            say(f"opening a pull request: {title}")
            request = hub.open_pull_request(title, f"Nothing of {ours.name} {ours.version} itself changes")
            _require_same(hub, f"refs/pr/{request.num}", on_main)
        revision = f"refs/pr/{request.num}"
        _send(ours, hub, revision, title, found, left)
        _require_whole(ours, hub, revision, "nothing is merged")
        say(f"merging pull request {request.num}")
        hub.merge(request)
        commit = hub.refs().main
        # Somebody may have changed `main` at the same moment. The commit compared here is the one tagged.
        _require_whole(ours, hub, commit, "nothing is tagged")
    return left, operations, commit


def _by_branch(ours: OutgoingRelease, hub: HubRepository, user: str, refs: Refs, dry_run: bool) -> _Through:
    """Send the files to the branch of the version's annexes: nothing that others have put on `main` is touched."""
    branch = f"v{ours.version}-annexes"
    found = hub.files(refs.branches.get(branch, refs.tags[f"v{ours.version}"]))
    left = files_left(ours.folder, _added(ours), found)
    making = [] if branch in refs.branches else [f"make the branch {branch}, as main is not this release alone"]
    operations = [*making, *_uploads(left)]
    if dry_run:
        return left, operations, ""
    with begun():
        if making:
            say(making[0])
            hub.branch(branch, refs.tags[f"v{ours.version}"])
        _send(ours, hub, branch, f"Annexes of {ours.name} {ours.version}", found, left)
        commit = hub.refs().branches[branch]
        _require_whole(ours, hub, commit, "nothing is tagged")
    return left, operations, commit


def _send(
    ours: OutgoingRelease,
    hub: HubRepository,
    revision: str,
    message: str,
    found: Mapping[str, "RepoFile"],
    left: Sequence[StoredFile],
) -> None:
    foreign = _foreign(ours, found)
    if left or foreign:
        left_bytes = sum(file.file_bytes for file in left)
        with stage(f"sending {amount(len(left), 'files')}, {amount(left_bytes, BYTES)}, to {revision}"):
            hub.upload(ours.folder, revision, message, [file.name for file in left], foreign)


def _require_same(hub: HubRepository, revision: str, on_main: Mapping[str, "RepoFile"]) -> None:
    """Require that a new pull request starts at the `main` that was looked at: else it could change another's annex."""
    started = hub.files(revision)
    if {name: file.blob_id for name, file in started.items()} != {name: file.blob_id for name, file in on_main.items()}:
        raise StorageError(
            f"hf://datasets/{hub.name}: somebody else changed main at the same moment. Run the same command again: it "
            "starts from the present state"
        )


def _require_whole(ours: OutgoingRelease, hub: HubRepository, revision: str, consequence: str) -> None:
    wrong = _missing_or_foreign(ours, hub.files(revision))
    if wrong:
        raise StorageError(
            f"hf://datasets/{hub.name}@{revision} is not the release with its annexes, so {consequence}; files "
            f"missing, changed or added: {len(wrong)}, for example {wrong[0]}. Run the same command again to resend "
            "them"
        )


def _missing_or_foreign(ours: OutgoingRelease, found: Mapping[str, "RepoFile"]) -> list[str]:
    """Files that keep a revision from being the release with its additions, and perhaps those of others."""
    wanted = [*ours.files.values(), *_added(ours)]
    return [*(file.name for file in files_left(ours.folder, wanted, found)), *_foreign(ours, found)]


def _foreign(ours: OutgoingRelease, found: Mapping[str, "RepoFile"]) -> list[str]:
    """Files that belong neither to the release nor to an annex. What is in the annexes of others is not known here."""
    known = {OF_THE_HUB, *ours.files, *(file.name for file in _added(ours))}
    annexes = tuple(f"{addition.name}/" for addition in ours.additions)
    others = [name for name in found if name not in known and not may_be_added(name)]
    return [name for name in others if name.startswith(annexes) or not name.startswith(f"{ANNEX}/")]


def _added(ours: OutgoingRelease) -> list[StoredFile]:
    return [file for addition in ours.additions for file in addition.files]


def _is_this_release(ours: OutgoingRelease, found: Mapping[str, "RepoFile"]) -> bool:
    return RELEASE_JSON in found and is_same(ours.folder, ours.files[RELEASE_JSON], found[RELEASE_JSON])


def _is_release_alone(ours: OutgoingRelease, found: Mapping[str, "RepoFile"]) -> bool:
    """Has a revision all files of the release, and no others but annexes and signatures?"""
    return not (files_left(ours.folder, ours.files.values(), found) or _foreign(ours, found))


def _uploads(left: Sequence[StoredFile]) -> list[str]:
    return [f"upload {file.name}, {file.file_bytes} bytes" for file in left]


def _digest(ours: OutgoingRelease) -> str:
    """Tells pushes of different additions apart."""
    sums = " ".join(addition.last.sha256 for addition in ours.additions)
    return hashlib.sha256(sums.encode()).hexdigest()[:16]
