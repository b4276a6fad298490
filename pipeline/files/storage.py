"""Files of runs and releases, on any fsspec URL: published whole or not at all.

On a local disk a file is written beside its final name, synced, and moved (or linked, where it must not be there yet).
An object store publishes an object when its upload is complete, which is the same promise.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.records import StoredFile

_PIECE_BYTES = 8 << 20  # of a file that is copied or checked; tars of a release may be larger than memory


def join(url: str, *names: str) -> str:
    """`url/name/name`; names are plain, relative and ours."""
    return "/".join([url.rstrip("/"), *names])


def publish(url: str, content: bytes) -> StoredFile:
    """Write a file whole, in the place of an older one if there is one."""
    fs, path = _locate(url)
    with _explained(fs, url, len(content)):
        if _is_local(fs):
            with _beside(Path(path)) as temporary:
                _write_synced(temporary, content)
                os.replace(temporary, path)
                _sync_folder(Path(path).parent)
        else:
            fs.pipe_file(path, content)
    return stored_file(Path(path).name, content)


def publish_file(url: str, source: Path) -> None:
    """Move a finished local file to its final place, whole; `source` is gone afterwards."""
    fs, path = _locate(url)
    with _explained(fs, url, source.stat().st_size):
        if _is_local(fs):
            with _beside(Path(path)) as temporary:
                shutil.move(source, temporary)
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
                os.replace(temporary, path)
                _sync_folder(Path(path).parent)
        else:
            fs.put_file(str(source), path)
            source.unlink()


def create(url: str, content: bytes) -> bool:
    """Write a file whole if none of that name is there.

    Returns: False, and nothing changed, if there is one.
    """
    fs, path = _locate(url)
    try:
        with _explained(fs, url, len(content)):
            if _is_local(fs):
                with _beside(Path(path)) as temporary:
                    _write_synced(temporary, content)
                    os.link(temporary, path)  # atomic and exclusive, and never seen half-written
                    _sync_folder(Path(path).parent)
            else:
                fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    return True


def read(url: str) -> bytes:
    """The content of a file.

    Raises: StorageError: there is none.
    """
    fs, path = _locate(url)
    try:
        with _explained(fs, url):
            content: bytes = fs.cat_file(path)
    except FileNotFoundError as error:
        raise StorageError(f"{url} is missing") from error
    return content


def read_checked(url: str, record: StoredFile) -> bytes:
    """The content of a file, after its size and SHA-256 were compared with its record.

    Raises: StorageError: it is missing, or is not what the record says.
    """
    content = read(url)
    _compare(url, stored_file(record.name, content), record)
    return content


def check(url: str, record: StoredFile) -> None:
    """Compare a file's size and SHA-256 with its record, without ever holding all of it.

    Raises: StorageError: it is missing, or is not what the record says.
    """
    _check_pieces(url, record, lambda piece: None)


def copy_checked(url: str, source: str, record: StoredFile) -> None:
    """Copy the file at `source`, without ever holding all of it, and publish the copy if it is what the record says.

    Raises: StorageError: the source is missing, or is not what the record says; nothing is at `url` then.
    """
    fs, path = _locate(url)
    with _beside(Path(path) if _is_local(fs) else Path(tempfile.gettempdir(), Path(path).name)) as temporary:
        with _explained(LocalFileSystem(), str(temporary), record.file_bytes), temporary.open("wb") as file:
            _check_pieces(source, record, file.write)
        publish_file(url, temporary)


def exists(url: str) -> bool:
    """Is there a file or folder of that name?"""
    fs, path = _locate(url)
    with _explained(fs, url):
        return bool(fs.exists(path))


def is_file(url: str) -> bool:
    """Is there a file of that name, neither a folder nor a pipe?"""
    fs, path = _locate(url)
    with _explained(fs, url):
        return bool(fs.isfile(path))


def list_names(url: str, *, hidden: bool = False) -> list[str]:
    """Names of the files in a folder, sorted; none if there is no such folder.

    Args: hidden: list unfinished files too, whose names begin with a dot.
    """
    fs, path = _locate(url)
    try:
        with _explained(fs, url):
            entries = fs.ls(path, detail=False)
        names = [str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if hidden or not name.startswith("."))


def is_unfinished(name: str) -> bool:
    """Is that the name of a file that was being written when its writer was killed?"""
    return name.startswith(".") and name.endswith(".tmp")


def remove(url: str) -> bool:
    """Remove a file.

    Returns: False if there is none.
    """
    fs, path = _locate(url)
    try:
        with _explained(fs, url):
            fs.rm_file(path)
    except FileNotFoundError:
        return False
    return True


def remove_tree(url: str) -> None:
    """Remove a folder and all in it, if it is there."""
    fs, path = _locate(url)
    with _explained(fs, url):
        if fs.exists(path):
            fs.rm(path, recursive=True)


def remove_if_empty(url: str) -> None:
    """Remove a folder of the local disk if nothing is in it, not even what somebody puts there at this moment.

    Object stores have no folders.
    """
    fs, path = _locate(url)
    if _is_local(fs):
        with contextlib.suppress(OSError):  # something is in it, or it is not there
            os.rmdir(path)


def absolute(url: str) -> str:
    """A path made absolute, so that processes with another working directory mean the same; URLs as they are."""
    return url if "://" in url else os.path.abspath(url)


def stored_file(name: str, content: bytes) -> StoredFile:
    """What a reader checks a file of that content against."""
    return StoredFile(name=name, file_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def stored_file_at(path: Path) -> StoredFile:
    """The same for a local file, read in pieces."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredFile(name=path.name, file_bytes=path.stat().st_size, sha256=digest)


def _check_pieces(url: str, record: StoredFile, keep: Callable[[bytes], object]) -> None:
    digest, file_bytes = hashlib.sha256(), 0
    for piece in _pieces(url):
        digest.update(piece)
        file_bytes += len(piece)
        keep(piece)
    _compare(url, StoredFile(name=record.name, file_bytes=file_bytes, sha256=digest.hexdigest()), record)


def _pieces(url: str) -> Iterator[bytes]:
    fs, path = _locate(url)
    try:
        with _explained(fs, url), fs.open(path, "rb", block_size=_PIECE_BYTES) as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except FileNotFoundError as error:
        raise StorageError(f"{url} is missing") from error


def _compare(url: str, found: StoredFile, record: StoredFile) -> None:
    if found != record:
        raise StorageError(
            f"{url} has {found.file_bytes} bytes and SHA-256 {found.sha256}; its record says {record.file_bytes} and "
            f"{record.sha256}. Delete the record to have the file made again"
        )


def _locate(url: str) -> tuple[Any, str]:
    if "://" not in url:  # never parsed: "::" and "~" in the name of a local folder mean nothing
        return LocalFileSystem(), os.path.abspath(url)
    fs, path = url_to_fs(url)
    # Listings are remembered: on S3 an object that another process had created, or whose creation was answered by an
    # error, was "missing" for a read that came after.
    fs.invalidate_cache()
    return fs, str(path)


def _is_local(fs: Any) -> bool:
    return isinstance(fs, LocalFileSystem)


@contextlib.contextmanager
def _explained(fs: Any, url: str, size_bytes: int = 0) -> Iterator[None]:
    """Say of a full disk, and of a store that does not answer, where and what to do.

    Clients of stores try again by themselves, with growing pauses (s3fs 5 to 25 times, up to 45 s): what comes here is
    what stayed. Their errors have no common class; botocore's are not even OSErrors.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, StorageError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageUnavailableError(
                f"{url}: the disk is full, {size_bytes} bytes were to be written; what is there stays. Make room, then "
                "the same command goes on"
            ) from error
        if _is_local(fs):
            raise
        raise StorageUnavailableError(
            f"{url}: the storage does not do what it is asked for ({type(error).__name__}: {str(error)[:200]}); "
            "what is there stays. When it answers again, the same command goes on"
        ) from error


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside `path`, hidden from `list_names`; whatever is left under it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Without this a power cut can forget the new name although the content is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
