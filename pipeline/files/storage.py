"""Files of runs and releases, at a local path or an fsspec URL: published whole or not at all.

A storage that does not respond is asked again for as long as the session has patience (`patience.py`). A try that
failed may have had its effect all the same, so every function here finds out whose effect it sees.

`local_disk` keeps that promise on the local disk. An object store keeps it by itself: an object appears when its upload
is complete. `urls` says what counts as a path and what as a URL.
"""

import contextlib
import dataclasses
import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import local_disk
from pipeline.files.bounded import TooLargeError, read_at_most
from pipeline.files.checked import check_pieces, compare
from pipeline.files.located import ask, explained, is_local, kind_of, locate
from pipeline.records import StoredFile

MOST_BYTES = 8 << 30  # 8 GiB: the largest file that is ever read whole, a tar of a release
_FREE_BYTES = 64 << 20  # 64 MiB, by which a file may be larger than expected, and is still read to name its sum
_IN_MEMORY = threading.RLock()


def join(url: str, *names: str) -> str:
    """`url/name/name`; the names are relative, and are not checked."""
    return "/".join([url.rstrip("/"), *names])


def publish(url: str, content: bytes) -> StoredFile:
    """Write a file whole, replacing an older one."""

    def write(fs: Any, path: str) -> None:
        if is_local(fs):
            local_disk.write(Path(path), content)
        else:
            fs.pipe_file(path, content)

    ask(url, write, len(content))
    return stored_file(_name(url), content)


def create(url: str, content: bytes) -> bool:
    """Write a file whole if none of this name exists.

    Returns: False if one exists; nothing changes then.
    """
    tries = 0

    def write(fs: Any, path: str) -> None:
        nonlocal tries
        tries += 1
        if is_local(fs):
            local_disk.create_whole(Path(path), content)
        elif "memory" in fs.protocol:
            with _IN_MEMORY:  # fsspec looks first and writes then: two of six threads could both create a file
                fs.pipe_file(path, content, mode="create")
        else:
            fs.pipe_file(path, content, mode="create")

    try:
        ask(url, write, len(content))
    except FileExistsError:
        # An earlier try may have created it, and only its answer was lost: a claim that nobody else can have made is
        # ours then. Of two who create the same content, both may hear that they did.
        return tries > 1 and _has(url, content)
    return True


def add(url: str, content: bytes) -> StoredFile:
    """Write a file that is never replaced, unless one with this content exists.

    Raises: StorageError: a file with another content exists; it stays as it is.
    """
    stored = stored_file(_name(url), content)
    if not create(url, content):
        _require_equal(url, stored)
    return stored


def add_file(url: str, source: Path, stored: StoredFile | None = None) -> StoredFile:
    """Move a finished local file to a name that is never replaced, unless one with this content exists.

    Args:   stored: its size and SHA-256, if they are known.
    Raises: StorageError: a file with another content exists; it stays as it is.
    """
    stored = dataclasses.replace(stored or stored_file_at(source), name=_name(url))

    def move(fs: Any, path: str) -> None:
        if is_local(fs):
            local_disk.create_moved(Path(path), source)
        else:
            fs.put_file(str(source), path, mode="create")

    try:
        ask(url, move, stored.file_bytes)
    except FileExistsError:
        _require_equal(url, stored)
    source.unlink(missing_ok=True)
    return stored


def read(url: str, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a file, whose size is looked at first.

    Raises: StorageError: it does not exist, or has more bytes.
    """
    try:
        return ask(url, lambda fs, path: read_at_most(fs, path, most_bytes))
    except FileNotFoundError as error:
        raise StorageError(f"{url} is missing") from error
    except TooLargeError as error:
        raise StorageError(f"{url}: {error}") from error


def file_bytes_of(url: str) -> int:
    """Size of a file in bytes; 0 if the storage does not say.

    Raises: StorageError: it does not exist.
    """
    try:
        return ask(url, lambda fs, path: int(fs.info(path).get("size") or 0))
    except FileNotFoundError as error:
        raise StorageError(f"{url} is missing") from error


def read_checked(url: str, expected: StoredFile) -> bytes:
    """The content of a file, after its size and SHA-256 have been compared with the expected ones.

    Raises: StorageError: it is missing, or is not the expected file.
    """
    content = read(url, expected.file_bytes + _FREE_BYTES)
    compare(url, stored_file(expected.name, content), expected)
    return content


def check(url: str, expected: StoredFile) -> None:
    """Compare a file's size and SHA-256 with the expected ones, reading it in pieces.

    Raises: StorageError: it is missing, or is not the expected file.
    """
    check_pieces(url, expected, lambda piece: None)


def copy_checked(url: str, source: str, expected: StoredFile, *, replace: bool = False) -> None:
    """Copy the file at `source` in pieces, and `add` the copy if it is the expected file.

    Args:   replace: the copy takes the place of whatever exists at `url`.
    Raises: StorageError: the source is missing, or is not the expected file, or another file exists at `url` and must
            not be replaced; nothing changes at `url` then.
    """
    fs, path = locate(url)
    final = Path(path) if is_local(fs) else Path(tempfile.gettempdir(), Path(path).name)
    with local_disk.beside(final) as temporary:
        with explained(LocalFileSystem(), str(temporary), expected.file_bytes), temporary.open("wb") as file:
            check_pieces(source, expected, file.write)
        if replace:
            ask(url, lambda fs, path: _put(fs, path, temporary), expected.file_bytes)
        else:
            add_file(url, temporary, expected)


def exists(url: str) -> bool:
    """Does a file or folder of this name exist?"""
    return bool(ask(url, kind_of))


def is_file(url: str) -> bool:
    """Does a file of this name exist? Neither folders nor pipes count."""
    return ask(url, kind_of) == "file"


def list_names(url: str, *, hidden: bool = False) -> list[str]:
    """Names of the files and folders in a folder, sorted; empty if the folder does not exist.

    Args: hidden: include names that begin with a dot, such as those of unfinished files.
    """
    try:
        entries = ask(url, lambda fs, path: fs.ls(path, detail=False))
        names = [str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if hidden or not name.startswith("."))


def is_unfinished(name: str) -> bool:
    """Is this a name that `local_disk.beside` gives? A writer that is killed leaves such a file."""
    return name.startswith(".") and name.endswith(".tmp")


def remove(url: str) -> bool:
    """Remove a file.

    Returns: False if it does not exist.
    """
    tries = 0

    def remove_file(fs: Any, path: str) -> None:
        nonlocal tries
        tries += 1
        fs.rm_file(path)

    try:
        ask(url, remove_file)
    except FileNotFoundError:
        return tries > 1  # an earlier try has removed it, as far as anybody can tell
    return True


def remove_tree(url: str) -> None:
    """Remove a folder and everything in it, if it exists."""

    def remove_all(fs: Any, path: str) -> None:
        if kind_of(fs, path):
            fs.rm(path, recursive=True)

    ask(url, remove_all)


def remove_if_empty(url: str) -> None:
    """Remove a folder of the local disk if it is empty, even while others write to it.

    Object stores have no folders.
    """
    fs, path = locate(url)
    if is_local(fs):
        with contextlib.suppress(OSError):  # it is not empty, or does not exist
            os.rmdir(path)


def stored_file(name: str, content: bytes) -> StoredFile:
    """Name, size and SHA-256 of a file with this content."""
    return StoredFile(name=name, file_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def stored_file_at(path: Path) -> StoredFile:
    """Name, size and SHA-256 of a local file, read in pieces."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredFile(name=path.name, file_bytes=path.stat().st_size, sha256=digest)


def _put(fs: Any, path: str, source: Path) -> None:
    if is_local(fs):
        local_disk.move(Path(path), source)
    else:
        fs.put_file(str(source), path)


def _has(url: str, content: bytes) -> bool:
    try:
        return read(url, len(content)) == content
    except StorageUnavailableError:
        raise
    except StorageError:  # it is larger, or has been removed
        return False


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _require_equal(url: str, stored: StoredFile) -> None:
    try:
        check(url, stored)
    except StorageUnavailableError:
        raise
    except StorageError as error:
        raise StorageError(
            f"{url} exists with another content, and is not overwritten. Find out what it is and remove it, then run "
            "the same command again to resume"
        ) from error
