"""Tries out, before any work, whether a place can be written to; the trial leaves no trace.

A bucket is asked by writing an empty file into it: nothing else tells whether it is there, who is logged in, and what
they may do.
"""

import contextlib
from collections.abc import Iterator

from pipeline.errors import ConfigError, StorageRefusedError, StorageUnavailableError
from pipeline.files import local_disk, storage, urls

_READ_ONLY = ("http://", "https://")


def require_exclusive_create(folder: str) -> None:
    """Try out whether the storage of a folder can be written, and refuses to create a file twice: locks, commits and
    pushes need both. Local file systems refuse it, so nothing is tried there.

    Raises: ConfigError: it does not, or can't be written. StorageUnavailableError: it does not respond.
    """
    if urls.is_local(folder):
        return
    # Twice, since another session may sweep the file between its two creates.
    if _creates_twice(folder) and _creates_twice(folder):
        raise ConfigError(
            f"{folder}: this storage lets a file be created twice, so one process could overwrite what another has "
            "claimed. Give a folder on a disk, or a store with conditional writes (S3's If-None-Match)"
        )


def require_bucket(folder: str) -> None:
    """Try out whether files can be written below a URL.

    Raises: ConfigError: they can't. StorageUnavailableError: the storage does not respond.
    """
    with _trial_file(folder) as url:
        storage.publish(url, b"")


@contextlib.contextmanager
def before_work(option: str = "") -> Iterator[None]:
    """Refuse the request if a storage lets nobody in; once work has begun, it is an error of the storage.

    Args:   option: what named the storage, for the message.
    Raises: ConfigError: the storage lets nobody in.
    """
    try:
        yield
    except StorageRefusedError as error:
        raise ConfigError(f"{option} {error.words}".strip()) from error


def _creates_twice(folder: str) -> bool:
    with _trial_file(folder) as url:
        storage.create(url, b"first")  # an answer may be lost on the way, and the client's second try be refused
        return storage.create(url, b"second")


@contextlib.contextmanager
def _trial_file(folder: str) -> Iterator[str]:
    """The name of a file that is removed after the block; what the block raises becomes an error that says what to do.

    Raises: ConfigError, StorageUnavailableError: see above.
    """
    if folder.startswith(_READ_ONLY):
        raise ConfigError(f"{folder} can't be written: HTTP is for reading. Give a folder on a disk, or a bucket")
    url = storage.join(folder, local_disk.unfinished_name("probe"))
    try:
        yield url
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} does not exist ({error}): create the bucket first") from error
    except StorageUnavailableError as error:
        if isinstance(error.__cause__, PermissionError):
            raise ConfigError(f"{folder}: you have no permission to write there ({error.__cause__})") from error
        if isinstance(error.__cause__, NotImplementedError):
            raise ConfigError(f"{folder} can't be written; give a folder on a disk, or a bucket") from error
        if type(error.__cause__).__name__ == "NoCredentialsError":
            raise ConfigError(
                f"{folder}: nobody is logged in there. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            ) from error
        if isinstance(error, StorageRefusedError):
            raise ConfigError(error.words.replace(url, folder)) from error
        raise
    with contextlib.suppress(Exception):  # a store may permit writing only; nobody reads this file
        storage.remove(url)
