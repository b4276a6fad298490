"""Whole files on the local disk: written beside the final name, synced, then moved or linked to it."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file, replacing an older one."""
    with beside(path) as temporary:
        write_synced(temporary, content)
        os.replace(temporary, path)
        _sync_folder(path.parent)


def move(path: Path, source: Path) -> None:
    """Move a finished file to `path`, replacing an older one."""
    with beside(path) as temporary:
        shutil.move(source, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)


def create_whole(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet.

    Raises: FileExistsError: it exists; it stays as it is.
    """
    with beside(path) as temporary:
        write_synced(temporary, content)
        os.link(temporary, path)  # atomic and exclusive, and never seen half-written
        _sync_folder(path.parent)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A hidden name in the folder of `path`, which is made if necessary; a file left under that name is removed.

    `storage.is_unfinished` tells such names by their form.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until its content is on disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Without this a power cut can lose the new name although the content is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
