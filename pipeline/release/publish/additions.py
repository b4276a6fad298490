"""What a push adds to a published release: its annexes and signatures. Each is sent whole, and none ever changes.

An annex is claimed by its sums, which are sent first, and complete by its `annex.json`, which is sent last (see
`release/annex.py`). So two pushes of different annexes of one number never mix their files. Before that one come its
scripts, that of the annex's own folder last: the page of a release runs it once it is there, and needs the others.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.errors import ReleaseExistsError
from pipeline.files import storage
from pipeline.progress.stages import say
from pipeline.records import StoredFile
from pipeline.release.annex import ADDED_LATER, ANNEX, ANNEX_JSON, Annex, annexes_of, numbers_of
from pipeline.release.contents import SUMS
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.signature import MOST_BYTES, SIGNATURE

_OTHERS = re.compile(rf"{ANNEX}/[1-9]\d*(/{re.escape(ANNEX_JSON + SIGNATURE)})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """An annex, or a signature."""

    name: str
    """Its folder or file, relative to the release."""
    label: str
    """What is added to a version's name for it: `signed`, `annex-1`, `annex-1-signed`."""
    files: tuple[StoredFile, ...]
    """In the order in which they are sent; names are relative to the release."""

    @property
    def last(self) -> StoredFile:
        """The file without which it does not exist."""
        return self.files[-1]


def additions_of(release: str) -> tuple[Addition, ...]:
    """The annexes and signatures of a release, in the order in which they are sent.

    An annex that is unfinished is left out. So are those behind it, as annexes are numbered without gaps.

    Raises: CollectionError: an `annex.json` can't be understood.
    """
    return tuple(_found(release))


def may_be_added(name: str) -> bool:
    """Could somebody else have added the file or folder of that name to a published release?"""
    return name in ADDED_LATER or _OTHERS.fullmatch(name) is not None


def is_script(file: StoredFile) -> bool:
    """Could a page run this file of an annex?"""
    return file.name.endswith(".js")


def refuse_different(target: str, addition: Addition, there: Mapping[str, bool]) -> None:
    """Refuse to add what the target has already in another form.

    Args:   target: of the release, for the message. there: file that the target has → is it the same?
    Raises: ReleaseExistsError: it has another annex of that number, or another signature of that file.
    """
    if there.get(addition.last.name, True) and there.get(addition.files[0].name, True):
        return
    if addition.name.endswith(SIGNATURE):
        raise ReleaseExistsError(
            f"{target} already has another {addition.name}; a signature is never replaced: take that one, or remove "
            "yours"
        )
    raise ReleaseExistsError(
        f"{target} already has another {addition.name}, or one is being sent; a published annex never changes: copy "
        "the published release with its annexes, and make yours again there; it gets the next number"
    )


def _found(release: str) -> Iterator[Addition]:
    yield from _signature(release, RELEASE_JSON, "signed")
    annexes = {annex.number: annex for annex in annexes_of(release)}
    for place, number in enumerate(numbers_of(release), start=1):
        if number not in annexes or place != number:
            say(f"{ANNEX}/{place} is unfinished or missing: neither it nor what comes behind it is sent")
            return
        annex = annexes[number]
        yield _annex(release, annex)
        yield from _signature(release, f"{annex.name}/{ANNEX_JSON}", f"annex-{number}-signed")


def _annex(release: str, annex: Annex) -> Addition:
    document = f"{annex.name}/{ANNEX_JSON}"
    content = storage.read(storage.join(release, document))
    ordered = sorted(
        annex.files.values(),
        key=lambda file: (file.name != SUMS, is_script(file), -file.name.count("/"), file.name),
    )
    files = [
        StoredFile(name=f"{annex.name}/{file.name}", file_bytes=file.file_bytes, sha256=file.sha256) for file in ordered
    ]
    return Addition(
        name=annex.name, label=f"annex-{annex.number}", files=(*files, storage.stored_file(document, content))
    )


def _signature(release: str, signed: str, label: str) -> Iterator[Addition]:
    name = f"{signed}{SIGNATURE}"
    url = storage.join(release, name)
    if storage.is_file(url):
        yield Addition(name=name, label=label, files=(storage.stored_file(name, storage.read(url, MOST_BYTES)),))
