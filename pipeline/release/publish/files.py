"""Sends files to a folder or bucket, reads them back, and tells which have arrived."""

from collections.abc import Iterator, Sequence

from pipeline.errors import StorageError, StorageUnavailableError, kept
from pipeline.files import storage
from pipeline.progress.stages import BYTES, stage
from pipeline.progress.words import amount
from pipeline.records import StoredFile


def has_arrived(folder: str, file: StoredFile) -> bool:
    """Is this very file there?"""
    url = storage.join(folder, file.name)
    if not storage.exists(url):
        return False
    try:
        storage.check(url, file)
    except StorageUnavailableError:
        raise
    except StorageError:
        return False  # torn, or another one
    return True


def send(folder: str, source: str, files: Sequence[StoredFile], *, replace: bool) -> None:
    """Copy files from a release, and read all of them back once they are there.

    Args:   replace: they take the place of others of the same names.
    Raises: StorageError: what arrived is not what was sent, or another file is there and must not be replaced.
    """
    for file in _each("sending", files):
        storage.copy_checked(storage.join(folder, file.name), storage.join(source, file.name), file, replace=replace)
    for file in _each("reading back", files):
        storage.check(storage.join(folder, file.name), file)


def _each(doing: str, files: Sequence[StoredFile]) -> Iterator[StoredFile]:
    """Pass files on, and show how many bytes of them are done."""
    with kept(lambda: "What has arrived stays"), stage(doing, sum(file.file_bytes for file in files), BYTES) as shown:
        for number, file in enumerate(files, start=1):
            shown.note(f"{number} of {len(files)} files, {file.name}")
            yield file
            shown.advance(file.file_bytes)
        shown.note(amount(len(files), "files"))
