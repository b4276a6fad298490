"""Whole files on the local disk: written beside the final name, synced, then moved or linked to it."""

import contextlib
import errno
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from model.disk import sync_folder, with_room

_ADDED_BYTES = len("..") + 32 + len(".tmp")
"""What an unfinished name has more than the finished one."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def write(path: Path, content: bytes) -> None:
    """Write a file, replacing an older one."""
    with beside(path) as temporary:
        write_synced(temporary, content)
        os.replace(temporary, path)
        sync_folder(path.parent)


def move(path: Path, source: Path) -> None:
    """Move a finished file that lies beside `path` to it, replacing an older one."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(source, path)
    sync_folder(path.parent)


def create_whole(path: Path, content: bytes) -> None:
    """Write a file that does not exist yet.

    Raises: FileExistsError: it exists; it stays as it is.
    """
    with beside(path) as temporary:
        write_synced(temporary, content)
        _claim(temporary, path)


def create_moved(path: Path, source: Path) -> None:
    """Move a finished file to a name that does not exist yet.

    Raises: FileExistsError: it exists; it stays as it is, and so does `source`.
    """
    with beside(path) as temporary:
        shutil.move(source, temporary)
        try:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            _claim(temporary, path)
        except OSError:
            shutil.move(temporary, source)
            raise


def rename_folder(source: Path, target: Path) -> None:
    """Give a finished folder its final name.

    Raises: OSError: `target` exists and is not an empty folder, or `source` is gone; nothing changes then.
    """
    for folder, _, _ in os.walk(source):
        sync_folder(Path(folder))
    os.rename(source, target)
    sync_folder(target.parent)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it. A power cut can't lose the name of one that was made."""
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def unfinished_name(name: str) -> str:
    """A hidden name that nobody else has, for what becomes `name`; `storage.is_unfinished` tells it by its form."""
    return f".{with_room(name, _ADDED_BYTES)}.{uuid.uuid4().hex}.tmp"


def unfinished(path: Path) -> Iterator[Path]:
    """What is there under an unfinished name of `path`; of a path with a long name, also of one that begins as it."""
    return path.parent.glob(f".{glob.escape(with_room(path.name, _ADDED_BYTES))}.*.tmp")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A hidden name in the folder of `path`, which is made if necessary; a file left under that name is removed."""
    make_folders(path.parent)
    temporary = path.with_name(unfinished_name(path.name))
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


def _claim(temporary: Path, path: Path) -> None:
    """Give a finished file a second, final name, exclusively; it is never seen half-written.

    Raises: FileExistsError: the name is taken.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Some file systems have no hard links (exFAT, many FUSE mounts). There the name is claimed by an empty file,
        # which a process that is killed at this very place leaves behind.
        path.open("xb").close()
        os.replace(temporary, path)
    sync_folder(path.parent)
