"""Checks the signatures of a release and of its annexes: whether they fit what was read, and who made them."""

from collections.abc import Iterator, Sequence

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.records import Problem
from pipeline.release.annex import ANNEX_JSON, Annex
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.signature import MOST_BYTES, SIGNATURE, Signers, has_tool, made_by, signed_by


def check_signatures(
    release: str, release_json: bytes, annexes: Sequence[Annex], signers: Signers | None = None
) -> tuple[list[Problem], list[str]]:
    """Check every signature of a release.

    Args:    release: folder or URL.
             release_json: its `release.json`, as read for the rest of the check: it is not read again.
             annexes: those that are complete and fit their sums.
             signers: whose signatures count. Then `release.json` must have one. Without them, a signature must still
             fit its file, whoever made it.
    Returns: problems, and notes that say what is signed, and with which key.
    Raises:  StorageUnavailableError: a signature can't be read now.
    """
    problems, notes = list[Problem](), list[str]()
    for name, content in _signable(release, release_json, annexes, problems):
        url = storage.join(release, f"{name}{SIGNATURE}")
        try:
            if storage.exists(url):
                notes.append(_said_of(name, content, _read(url), signers))
            elif signers and name == RELEASE_JSON:
                problems.append(Problem(where=name, what=f"is not signed: there is no {name}{SIGNATURE}"))
            elif signers:
                notes.append(f"{name} is not signed, so anybody may have added it")
        except StorageUnavailableError:
            raise
        except StorageError as error:
            problems.append(Problem(where=f"{name}{SIGNATURE}", what=str(error)))
    return problems, notes


def _signable(
    release: str, release_json: bytes, annexes: Sequence[Annex], problems: list[Problem]
) -> Iterator[tuple[str, bytes]]:
    """Name and content of all files that may be signed."""
    yield RELEASE_JSON, release_json
    for annex in annexes:
        name = f"{annex.name}/{ANNEX_JSON}"
        content = storage.read(storage.join(release, name))
        if storage.stored_file(name, content).sha256 == annex.sha256:
            yield name, content
        else:
            problems.append(Problem(where=name, what="changed while it was checked"))


def _read(url: str) -> bytes:
    if not storage.is_file(url):
        raise StorageError("is not a plain file")
    return storage.read(url, MOST_BYTES)


def _said_of(name: str, content: bytes, signature: bytes, signers: Signers | None) -> str:
    """What is known of a signature, in words.

    Raises: StorageError: it is not one of this content, or not of these signers.
    """
    if not has_tool():
        return f"{name} has a signature, which was not checked: ssh-keygen is not installed"
    if signers:
        return f"{name} is signed with the {signed_by(content, signature, signers)}"
    return f"{name} is signed with the {made_by(content, signature)}; give --signer to check whose key that is"
