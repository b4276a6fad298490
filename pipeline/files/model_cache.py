"""The models that this machine has fetched, by digest, and how one is fetched: whole, proven, and once.

CACHE/models/SHA/        a model folder, weights and configurations only; SHA is its `weights_sha256`
CACHE/models/SHA.json    where it came from, for machines that have to fetch it too
CACHE/models/.SHA.lock   held by the process that fetches it; the others wait, and find it there

CACHE is SOD_CACHE, or ~/.cache/sod-benchmark. An entry is proven by its digest each time before it is used; one that is
damaged is fetched again. Nothing that could run is ever fetched.
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from model.documents import parse_json
from model.weights import WEIGHT_SUFFIXES, weights_sha256
from pipeline.errors import StorageError
from pipeline.files import local_disk, storage

ReadChunk = Callable[[str, int, int], bytes]
"""Name of a file, first byte, number of bytes → these bytes."""

CHUNK_BYTES = 8 << 20
"""8 MiB: large enough for a store, and small beside an object store of 100 MB through which chunks may go."""
_THREADS = 4
_MOST_FILES = 1000
_SPARE_BYTES = 64 << 20
_NEW = "new"
_OLD_S = 86_400.0


def models_folder() -> Path:
    """The folder that has the entries, whether it exists or not."""
    cache = os.environ.get("SOD_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "sod-benchmark")
    return Path(os.path.abspath(cache), "models")


def entry(sha256: str) -> Path | None:
    """The folder of a model that is there and whole; None otherwise."""
    folder = models_folder() / sha256
    return folder if digest_in(folder) == sha256 else None


def digest_in(folder: Path) -> str:
    """The digest of a model folder; "" if it holds no model that can be read."""
    try:
        return weights_sha256(folder)
    except OSError:
        return ""


def fetch(
    files: Mapping[str, int],
    read: ReadChunk,
    sha256: str = "",
    advance: Callable[[int], None] = lambda _: None,
) -> Path:
    """Fetch a model, unless another process has done so by then.

    Args:    files: name of each file → its size in bytes.
             sha256: the digest that it must have; "": whatever is read.
             advance: told the size of each chunk that has arrived.
    Returns: the folder of its entry.
    Raises:  StorageError: it can't be kept here, or is not what it should be; no entry is made then, and none replaced.
             Whatever `read` raises.
    """
    _require_plain(files)
    folder = models_folder()
    try:
        local_disk.make_folders(folder)
        with _locked(folder, sha256) if sha256 else contextlib.nullcontext():
            found = entry(sha256) if sha256 else None
            return found or _fetched(folder, files, read, sha256, advance)
    except OSError as error:
        raise StorageError(
            f"{folder}: the model can't be kept there ({type(error).__name__}: {error}). Name a folder that can be "
            "written with the environment variable SOD_CACHE, on every node"
        ) from error


def _fetched(
    folder: Path, files: Mapping[str, int], read: ReadChunk, sha256: str, advance: Callable[[int], None]
) -> Path:
    _sweep(folder, sha256)
    if (free := shutil.disk_usage(folder).free) < sum(files.values()) + _SPARE_BYTES:
        raise StorageError(
            f"{folder}: {free >> 20} MiB are free, and the model takes {sum(files.values()) >> 20}. Free some space, "
            "or name another folder with the environment variable SOD_CACHE"
        )
    begins = f".{sha256 or _NEW}."
    with tempfile.TemporaryDirectory(".tmp", begins, folder, ignore_cleanup_errors=True) as new:
        whole = Path(new, "whole")
        _read_all(whole, files, read, advance)
        found = weights_sha256(whole)
        if sha256 and found != sha256:
            raise StorageError(f"the model that was sent has the SHA-256 {found}, expected {sha256}")
        return _published(whole, folder / found)


def _sweep(folder: Path, sha256: str) -> None:
    """Remove what processes left that were killed while they fetched this model, or some model, long ago."""
    # By age alone: on a disk that nodes share, and that has no locks, another node may be fetching the same.
    for left in (*folder.glob(f".{sha256 or _NEW}.*.tmp"), *folder.glob(f".{_NEW}.*.tmp")):
        with contextlib.suppress(OSError):  # its owner has removed it by now
            if time.time() - left.stat().st_mtime > _OLD_S:
                shutil.rmtree(left, ignore_errors=True)


def _published(whole: Path, final: Path) -> Path:
    """Move a finished folder to its name; one there that is damaged makes way."""
    if final.exists() and digest_in(final) != final.name:
        damaged = whole.with_name("damaged")
        os.rename(final, damaged)  # whoever has it open keeps its files until they are closed
    try:
        local_disk.rename_folder(whole, final)
    except OSError:
        if digest_in(final) != final.name:  # else another process was faster
            raise
    return final


def _read_all(folder: Path, files: Mapping[str, int], read: ReadChunk, advance: Callable[[int], None]) -> None:
    parts = []
    for name, file_bytes in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        parts += [(name, start, min(CHUNK_BYTES, file_bytes - start)) for start in range(0, file_bytes, CHUNK_BYTES)]

    def read_part(part: tuple[str, int, int]) -> int:
        name, start, length = part
        try:
            content = read(name, start, length)
        except OSError as error:
            raise StorageError(f"{name} of the model can't be read ({type(error).__name__}: {error})") from error
        if len(content) != length:
            raise StorageError(f"{name}: {len(content)} bytes were sent from byte {start} on, expected {length}")
        with (folder / name).open("r+b") as file:
            file.seek(start)
            file.write(content)
        return length

    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch")
    try:
        for length in pool.map(read_part, parts):
            advance(length)
    finally:
        pool.shutdown(cancel_futures=True)
    for name in files:
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())


def _require_plain(files: Mapping[str, int]) -> None:
    """Refuse names that lead out of a folder, and kinds of files that are no weights.

    Raises: StorageError: there are some, or too many files for a model, or no weights at all.
    """
    for name, file_bytes in files.items():
        path = PurePosixPath(name)
        is_plain = name == str(path) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
        if not is_plain or path.suffix not in WEIGHT_SUFFIXES or file_bytes < 0:
            raise StorageError(f"{name!r:.200} of {file_bytes} bytes can't be a file of a model")
    if len(files) > _MOST_FILES or not any(name.endswith(".safetensors") for name in files):
        raise StorageError(f"among {len(files)} files, there is no model: no .safetensors, or over {_MOST_FILES} files")


@contextlib.contextmanager
def _locked(folder: Path, sha256: str) -> Iterator[None]:
    """Wait until no other process of this machine fetches that model.

    Without locks, as on some network disks, two may fetch it: then the first whole one counts.
    """
    with (folder / f".{sha256}.lock").open("wb") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def note_origin(sha256: str, url: str, state: str) -> None:
    """Note where an entry was fetched from.

    Args: state: another text once what is at the URL has changed; "": nobody knows.
    """
    content = json.dumps({"url": url, "state": state}).encode()
    with contextlib.suppress(OSError, StorageError):  # it only saves a second fetch
        storage.publish(str(models_folder() / f"{sha256}.json"), content)


def origin(sha256: str) -> tuple[str, str]:
    """URL and state of an entry, as they were noted; two empty texts if they were not."""
    try:
        noted = parse_json((models_folder() / f"{sha256}.json").read_bytes())
        return str(noted["url"]), str(noted["state"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", ""


def fetched_from(url: str, state: str) -> Path | None:
    """The whole entry that was fetched from there in that state; None if there is none."""
    if not state:
        return None
    for note in sorted(models_folder().glob("*.json")):
        if origin(note.stem) == (url, state):
            return entry(note.stem)
    return None
