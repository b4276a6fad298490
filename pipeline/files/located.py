"""The file system of a place in storage, and its failures as errors that say what to do."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import PipelineError, StorageRefusedError, StorageUnavailableError
from pipeline.files import urls
from pipeline.files.away import is_away
from pipeline.files.connections import failure_in_words, is_refusal
from pipeline.files.patience import persist

Answer = TypeVar("Answer")


def ask(url: str, question: Callable[[Any, str], Answer], size_bytes: int = 0) -> Answer:
    """Do something with a file or folder, again and again while its storage does not respond (`patience.py`).

    Args:    question: gets the file system and the path there. It may be called several times: what it did before it
                       failed may have had its effect.
             size_bytes: what is to be written, for messages.
    Raises:  as `persist` and `explained`.
    """
    fs, path = urls.resolve(url)

    def attempt() -> Answer:
        forget_listings(fs)
        return question(fs, path)

    with explained(fs, url, size_bytes):
        return persist(url, attempt)


def locate(url: str) -> tuple[Any, str]:
    """The file system of a file of a run or release, which is asked anew, and the path there.

    Raises: UsageError: see `urls.resolve`.
    """
    fs, path = urls.resolve(url)
    forget_listings(fs)
    return fs, path


def forget_listings(fs: Any) -> None:
    """Have a store asked anew: fsspec remembers listings, and on S3 an object that another process had created, or
    whose creation was answered by an error, was "missing" for a read that came after."""
    if not is_local(fs):
        fs.invalidate_cache()


def is_local(fs: Any) -> bool:
    """Is this file system the local disk?"""
    return isinstance(fs, LocalFileSystem)


def kind_of(fs: Any, path: str) -> str:
    """ "file", "directory" or another kind of thing; "" if nothing is there.

    Not by fsspec's `exists` and `isfile`, nor those of `os.path`: for them, nothing is there if nobody answers.
    """
    try:
        if is_local(fs):
            mode = os.stat(path).st_mode
            return "file" if stat.S_ISREG(mode) else "directory" if stat.S_ISDIR(mode) else "other"
        return str(fs.info(path)["type"])
    except (OSError, ValueError) as error:
        if is_away(error) or not (is_local(fs) or isinstance(error, FileNotFoundError)):
            raise
        return ""


@contextlib.contextmanager
def explained(fs: Any, url: str, size_bytes: int = 0) -> Iterator[None]:
    """Turn a full disk, and a store that does not respond, into an error that says where, and what to do.

    Clients of stores retry by themselves, with growing pauses (s3fs 5 to 25 times, up to 45 s), and a session has
    patience; errors that arrive here outlasted both. Their classes have no common base; botocore's are not even
    OSErrors.

    Raises: StorageUnavailableError, and StorageRefusedError of a store that lets nobody in.
    """
    try:
        yield
    except (FileExistsError, PipelineError):
        raise
    except FileNotFoundError as error:
        if is_away(error):  # fsspec's web client says of a server that refuses that it has no such file
            raise StorageUnavailableError(f"{url}: {failure_in_words(error) or error}") from error
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageUnavailableError(
                f"{url}: the disk is full, {size_bytes} bytes could not be written; existing files are unchanged. Free "
                "some space, then run the same command again to resume"
            ) from error
        if is_local(fs):
            raise
        if is_refusal(error):
            raise StorageRefusedError(f"{url}: {failure_in_words(error)}") from error
        raise StorageUnavailableError(
            f"{url}: storage failed ({type(error).__name__}: {str(error)[:200]}); existing files are unchanged. "
            "Once it responds, run the same command again to resume"
        ) from error
