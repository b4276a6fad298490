"""What every push shares, whatever its target: the release to send, its check, and the report on what was sent."""

from collections.abc import Mapping
from dataclasses import dataclass

from model.documents import parse_json
from pipeline.audit.check import check_certificates
from pipeline.config import ReleaseConfig
from pipeline.errors import UnsoundReleaseError
from pipeline.files import storage
from pipeline.progress.stages import say
from pipeline.records import StoredFile
from pipeline.release.check.release_json import read_release_json
from pipeline.release.check.verify import verify_release
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.publish.additions import Addition, additions_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What was done; in a dry run, what would be done."""

    target: str
    """Where the release lies afterwards."""
    sha256: str
    """SHA-256 of its `release.json`."""
    sent: tuple[str, ...]
    """Files that were sent, relative to the release."""
    sent_bytes: int
    there: tuple[str, ...]
    """Files that the target already had, usually from an interrupted upload."""
    operations: tuple[str, ...]
    """Everything that changes the target, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRelease:
    """A release to be pushed, as its `release.json` describes it: enough to refuse a push, not to trust the release."""

    folder: str
    """Folder or URL."""
    name: str
    version: str
    release_json: bytes
    files: Mapping[str, StoredFile]
    """Every file by name, `release.json` included, sorted by name."""
    additions: tuple[Addition, ...]
    """Its annexes and signatures."""

    @property
    def sha256(self) -> str:
        """SHA-256 of `release.json`."""
        return self.files[RELEASE_JSON].sha256


def outgoing_release(release: str) -> OutgoingRelease:
    """Read what a release and its annexes say about themselves.

    Args:   release: its folder or URL.
    Raises: CollectionError: there is no release, or an `annex.json` can't be understood.
            UnsoundReleaseError: its `release.json` can't be understood.
    """
    content = read_release_json(release)
    additions = additions_of(release)
    try:
        stated = parse_json(content)
        config = ReleaseConfig(name=stated["name"], version=stated["version"])  # checks both
        files = [StoredFile(**file) for file in stated["files"]] + [storage.stored_file(RELEASE_JSON, content)]
        return OutgoingRelease(
            folder=release,
            name=config.name,
            version=config.version,
            release_json=content,
            files={file.name: file for file in sorted(files, key=lambda file: file.name)},
            additions=additions,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnsoundReleaseError(
            f"{release} is not published: its {RELEASE_JSON} can't be read ({type(error).__name__}: "
            f"{str(error)[:200]}); sod release verify lists every problem"
        ) from error


def require_sound(release: OutgoingRelease, loaders: bool, otherwise: str = "is not published") -> None:
    """Check every byte of a release, compute its certificates again, and load it with its users' libraries if `loaders`
    is set.

    Args:   otherwise: what a release with problems is not, for the message.
    Raises: UnsoundReleaseError: it has problems, or its `release.json` changed since it was read.
    """
    say(f"checking {release.folder}")
    check = verify_release(release.folder, loaders=loaders)
    certified = check_certificates(release.folder, [annex.number for annex in check.annexes])
    problems = [*check.problems, *certified.problems]
    if problems:
        first = problems[0]
        raise UnsoundReleaseError(
            f"{release.folder} {otherwise}; problems found: {len(problems)}, the first in {first.where}: "
            f"{first.what}; sod release verify lists all"
        )
    for unchecked in (*check.unchecked, *certified.unchecked):
        say(f"not checked: {unchecked.where}: {unchecked.what}")
    if check.sha256 != release.sha256:
        raise UnsoundReleaseError(
            f"{release.folder} {otherwise}: its {RELEASE_JSON} changed while it was checked; run the same command again"
        )
