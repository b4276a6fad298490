"""Sends files to a folder or bucket, reads them back, and tells which have arrived."""

from collections.abc import Callable, Sequence

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import storage
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


def send(
    folder: str, source: str, files: Sequence[StoredFile], *, replace: bool, report: Callable[[str], None]
) -> None:
    """Copy files from a release, and read all of them back once they are there.

    Args:   replace: they take the place of others of the same names.
    Raises: StorageError: what arrived is not what was sent, or another file is there and must not be replaced.
    """
    for file in files:
        report(f"sending {file.name}, {file.file_bytes} bytes")
        storage.copy_checked(storage.join(folder, file.name), storage.join(source, file.name), file, replace=replace)
    for file in files:
        report(f"reading {file.name} back")
        storage.check(storage.join(folder, file.name), file)
