"""Paths and URLs: the file system that one is on, and its path there. Every reader and writer of files asks here.

One rule: text that begins with a protocol of two or more letters and "://" is a URL. Everything else is a path on the
local disk. A parameter called `url` takes either.

- A local path is taken literally: "~", "#", "?", "%", "*", "::" and drives ("C:") have no meaning, so a folder may have
  any name; only the shell expands "~". Relative paths start at the working directory.
- `file:///x` and `local:///x` are the path `/x`, literally too: nothing is decoded. They must be absolute.
- fsspec reads all other URLs. Capitals in a protocol make no difference.
- Chained URLs (`simplecache::s3://bucket/train2017.zip`) work for input files only. `storage` refuses them for runs and
  releases, where a cache would hide what other processes write.
"""

import os
import re

from fsspec import AbstractFileSystem, get_filesystem_class
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import UsageError

_PROTOCOL = r"[A-Za-z][A-Za-z0-9+.-]+"
_BEGINS_A_URL = re.compile(rf"(?:{_PROTOCOL}::)*{_PROTOCOL}://")
_LINK = re.compile(rf"(?:^|::)({_PROTOCOL})(?=::|://)")
"""The protocol of each link of a chain."""
_OF_THIS_DISK = ("file://", "local://")

_PACKAGES = {
    "s3": "'sod-benchmark[s3]'",
    "s3a": "'sod-benchmark[s3]'",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}
"""Protocol → what pip installs; for the others fsspec's own advice is given."""


def resolve(url: str) -> tuple[AbstractFileSystem, str]:
    """The fsspec file system that a path or URL is on, and the path in it, which is absolute on the local disk.

    Raises: UsageError: as `absolute`; the protocol is unknown, or its package is not installed.
            OSError: the last link of a chained URL can't be opened.
    """
    place = absolute(url)
    if place.startswith("/"):
        return LocalFileSystem(), place
    for protocol in _LINK.findall(place):
        _require_known(url, protocol)
    try:
        fs, path = url_to_fs(place)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{url!r}: {error}") from error
    return fs, str(path)


def absolute(url: str) -> str:
    """The spelling of a path or URL that means the same in every process.

    Returns: an absolute path of the local disk, which begins with "/", or a URL, which never does.
    Raises:  UsageError: it is empty, has a NUL, or is a `file://` URL of a relative path.
    """
    if not url:
        raise UsageError("'': the path is empty")
    if "\0" in url:
        raise UsageError(f"{url!r}: no path has a NUL in it")
    start = _BEGINS_A_URL.match(url)
    if start is None:
        return os.path.abspath(url)
    protocols, rest = start[0].lower(), url[start.end() :]
    if protocols not in _OF_THIS_DISK:
        return protocols + rest
    if not rest.startswith("/"):
        raise UsageError(f"{url!r}: a {protocols} URL must be absolute, {protocols}/data/run for example")
    return os.path.abspath(rest)


def is_local(url: str) -> bool:
    """Is it on the local disk?"""
    return absolute(url).startswith("/")


def is_chained(url: str) -> bool:
    """Is it a URL in which fsspec puts one file system on another?"""
    return "::" in url and not is_local(url)


def _require_known(url: str, protocol: str) -> None:
    try:
        get_filesystem_class(protocol)
    except ValueError as error:
        raise UsageError(
            f"{url!r}: unknown protocol {protocol!r}; give a local path, or a URL such as s3://bucket/folder"
        ) from error
    except ImportError as error:
        remedy = f"run pip install {_PACKAGES[protocol]}" if protocol in _PACKAGES else str(error)
        raise UsageError(f"{url!r}: {protocol}:// needs a package that can't be imported; {remedy}") from error
