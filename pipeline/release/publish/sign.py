"""Signs a release and its annexes: nothing that exists changes, and nothing unsound is signed."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import ReleaseExistsError, StorageError, UsageError
from pipeline.files import storage, urls
from pipeline.files.trials import require_exclusive_create
from pipeline.progress.stages import say
from pipeline.release.annex import ANNEX_JSON, annexes_of
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.publish.report import OutgoingRelease, outgoing_release, require_sound
from pipeline.release.signature import MOST_BYTES, SIGNATURE, made_by, require_key, require_tool, sign


@dataclass(frozen=True, slots=True, kw_only=True)
class SignReport:
    """What was signed."""

    release: str
    sha256: str
    """SHA-256 of its `release.json`."""
    key: str
    """Kind and fingerprint of the key, such as `ED25519 key SHA256:OIDL…`."""
    signed: tuple[str, ...]
    """Files that got a signature, relative to the release."""
    there: tuple[str, ...]
    """Files that had one, by this key or another."""


def sign_release(release: str, key: str) -> SignReport:
    """Sign `release.json` and every complete `annex.json` that has no signature yet.

    The files are read and signed first, so that a passphrase is asked for at once. Then the release is checked, and
    only if it is sound are the signatures written.

    Args:    release: its folder or URL. key: see `signature.sign`.
    Raises:  UsageError: there is no `ssh-keygen`, it can't sign with that key, or the release can't be written.
             CollectionError: there is no release. UnsoundReleaseError: it has problems.
             ReleaseExistsError: everything is signed, with another key.
             StorageError: a signature that exists does not fit, or somebody else made one at the same moment.
    """
    require_tool()
    require_key(key)
    _refuse_key_inside(release, key)
    ours = outgoing_release(release)
    require_exclusive_create(release)
    contents = _signable(ours)
    there = _signed_already(release, contents)
    left = [name for name in contents if name not in there]
    if left:
        say(f"signing {', '.join(left)} with {key}")
    made = sign([contents[name] for name in left or [RELEASE_JSON]], key)
    fingerprint = made_by(contents[(left or [RELEASE_JSON])[0]], made[0])
    if not left and fingerprint not in there.values():
        raise ReleaseExistsError(
            f"{release} is signed already, with the {there[RELEASE_JSON]}; {key} is the {fingerprint}. A signature is "
            f"never replaced. If it is wrong, remove {RELEASE_JSON}{SIGNATURE} yourself"
        )
    if left:
        require_sound(ours, False, "is not signed")
    for name, signature in zip(left, made, strict=False):
        _write(storage.join(release, f"{name}{SIGNATURE}"), signature)
    return SignReport(release=release, sha256=ours.sha256, key=fingerprint, signed=tuple(left), there=tuple(there))


def _refuse_key_inside(release: str, key: str) -> None:
    if urls.is_within(key, release):
        raise UsageError(f"--key {key} is inside the release, which others get: move the key out of it first")


def _signable(ours: OutgoingRelease) -> dict[str, bytes]:
    """Name → content of every file that is signed."""
    contents = {RELEASE_JSON: ours.release_json}
    for annex in annexes_of(ours.folder):
        name = f"{annex.name}/{ANNEX_JSON}"
        contents[name] = storage.read(storage.join(ours.folder, name))
    return contents


def _signed_already(release: str, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Name of every file with a signature → the key that made it."""
    there = {}
    for name, content in contents.items():
        url = storage.join(release, f"{name}{SIGNATURE}")
        if storage.is_file(url):
            try:
                there[name] = made_by(content, storage.read(url, MOST_BYTES))
            except StorageError as error:
                raise StorageError(f"{url} {error}. Remove it yourself if it is wrong") from error
            say(f"{name} is signed already, with the {there[name]}")
    return there


def _write(url: str, signature: bytes) -> None:
    if not storage.create(url, signature):
        raise StorageError(f"{url}: somebody else signed it at the same moment. That signature stays")
