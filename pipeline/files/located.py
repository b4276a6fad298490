"""The file system of a place in storage, and its failures as errors that say what to do."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import urls


def locate(url: str) -> tuple[Any, str]:
    """The file system of a file of a run or release, which is asked anew, and the path there.

    Raises: UsageError: see `urls.resolve`.
    """
    fs, path = urls.resolve(url)
    if not is_local(fs):
        # fsspec remembers listings: on S3 an object that another process had created, or whose creation was answered
        # by an error, was "missing" for a read that came after.
        fs.invalidate_cache()
    return fs, path


def is_local(fs: Any) -> bool:
    """Is this file system the local disk?"""
    return isinstance(fs, LocalFileSystem)


@contextlib.contextmanager
def explained(fs: Any, url: str, size_bytes: int = 0) -> Iterator[None]:
    """Turn a full disk, and a store that does not respond, into an error that says where, and what to do.

    Clients of stores retry by themselves, with growing pauses (s3fs 5 to 25 times, up to 45 s); errors that arrive here
    outlasted that. Their classes have no common base; botocore's are not even OSErrors.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, StorageError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageUnavailableError(
                f"{url}: the disk is full, {size_bytes} bytes could not be written; existing files are unchanged. Free "
                "some space, then run the same command again to resume"
            ) from error
        if is_local(fs):
            raise
        raise StorageUnavailableError(
            f"{url}: storage failed ({type(error).__name__}: {str(error)[:200]}); existing files are unchanged. "
            "Once it responds, run the same command again to resume"
        ) from error
