"""Paths and URLs: the file system that one is on, and its path there. Every reader and writer of files asks here.

One rule: text that begins with a protocol of two or more letters and "://" is a URL. Everything else is a path on the
local disk. A parameter called `url` takes either.

- A local path is taken literally: "~", "#", "?", "%", "*", "::" and drives ("C:") have no meaning, so a folder may have
  any name; only the shell expands "~". Relative paths start at the working directory.
- `file:///x` is the path `/x`, literally too: nothing is decoded. It must be absolute.
- fsspec reads the URLs of the other `PROTOCOLS`, and no others. Capitals in a protocol make no difference.
- Chained URLs (`simplecache::s3://bucket/train2017.zip`) are refused, but for input files if the user allows them: for
  runs and releases, a cache would hide what other processes write.
- Nobody is shown a URL's password or signature: `pipeline.shown.shown` hides them.
"""

import os
import posixpath
import re
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.extras import extra_command
from pipeline.shown import shown

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PROTOCOLS = ("file", "s3", "gs", "abfs", "hf", "http", "https")
"""What a URL may begin with."""
_IN_TESTS = ("memory",)
_ON_OTHERS = ("simplecache", "filecache", "blockcache", "zip")
"""What else may stand in a chained URL: caches and archives on one of the `PROTOCOLS`."""

_PROTOCOL = r"[A-Za-z][A-Za-z0-9+.-]+"
_BEGINS_A_URL = re.compile(rf"(?:{_PROTOCOL}::)*{_PROTOCOL}://")
_LINK = re.compile(rf"(?:^|::)({_PROTOCOL})(?=::|://)")
"""The protocol of each link of a chain."""
_OF_THIS_DISK = "file://"

_S3FS_TRIES = 2
"""s3fs tries 5 times what botocore has tried 5 times: a server that took connections and never answered was asked for
over 7 minutes, before anybody heard of it. `patience.py` tries again, and can be stopped."""
_PACKAGES = {"gs": "gcsfs", "abfs": "adlfs"}
"""Protocol → what pip installs; s3 has an extra; for the others fsspec's own advice is given."""


def resolve(url: str, *, chained: bool = False) -> tuple["AbstractFileSystem", str]:
    """The fsspec file system that a path or URL is on, and the path in it, which is absolute on the local disk.

    Args:   chained: the place is an input, whose configuration decides about chained URLs.
    Raises: UsageError: as `absolute`; the protocol is not one of `PROTOCOLS`, or its package is not installed; the URL
            is chained and must not be.
            OSError: the last link of a chained URL can't be opened.
    """
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    place = absolute(url)
    if place.startswith("/"):
        return LocalFileSystem(), place
    in_chain = is_chained(place)
    for protocol in _LINK.findall(place):
        _require_known(url, protocol.lower(), in_chain)
    if in_chain and not chained:
        raise UsageError(chain_refused(url))
    try:
        fs, path = url_to_fs(place)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{shown(url)!r}: {error}") from error
    if "s3" in fs.protocol:
        fs.retries = _S3FS_TRIES
    return fs, str(path)


def absolute(url: str) -> str:
    """The spelling of a path or URL that means the same in every process.

    Returns: an absolute path of the local disk, which begins with "/", or a URL, which never does.
    Raises:  UsageError: it is empty, has a NUL, or is a `file://` URL of a relative path.
    """
    if not url:
        raise UsageError("'': the path is empty")
    if "\0" in url:
        raise UsageError(f"{shown(url)!r}: no path has a NUL in it")
    start = _BEGINS_A_URL.match(url)
    if start is None:
        return os.path.abspath(url)
    protocols, rest = start[0].lower(), url[start.end() :]
    if protocols != _OF_THIS_DISK:
        return protocols + rest
    if not rest.startswith("/"):
        raise UsageError(f"{shown(url)!r}: a file:// URL must be absolute, file:///data/run for example")
    return os.path.abspath(rest)


def is_local(url: str) -> bool:
    """Is it on the local disk?"""
    return absolute(url).startswith("/")


def is_within(url: str, folder: str) -> bool:
    """Is a place that folder, or inside it?

    Paths are compared with their links resolved, URLs as text: without repeated slashes, and without the caches of a
    chain.
    """
    return f"{_resolved(url)}/".startswith(f"{_resolved(folder)}/")


def _resolved(url: str) -> str:
    place = absolute(absolute(url).rpartition("::")[2] if is_chained(url) else url)
    if place.startswith("/"):
        return os.path.realpath(place).rstrip("/")
    protocol, _, rest = place.partition("://")
    return f"{protocol}://{posixpath.normpath(rest.strip('/'))}"


def is_chained(url: str) -> bool:
    """Is it a URL in which fsspec puts one file system on another?"""
    return "::" in url and not is_local(url)


def chain_refused(url: str) -> str:
    """Why a chained URL is refused, and what to do."""
    return (
        f"{shown(url)!r}: a chained URL (with '::') can only be read as an input, with --allow-chained-urls; give a "
        "plain URL or path"
    )


def _require_known(url: str, protocol: str, in_chain: bool) -> None:
    from fsspec import get_filesystem_class

    if protocol not in (*PROTOCOLS, *_IN_TESTS, *(_ON_OTHERS if in_chain else ())):
        in_chains = f" (in a chain also {', '.join(_ON_OTHERS)})" if in_chain else ""
        raise UsageError(
            f"{shown(url)!r}: the protocol {protocol[:40]!r} can't be used; give a local path, or a URL that begins "
            f"with one of {', '.join(PROTOCOLS)}{in_chains}, such as s3://bucket/folder"
        )
    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        remedy = _remedy(protocol, error)
        raise UsageError(f"{shown(url)!r}: {protocol}:// needs a package that can't be imported; {remedy}") from error


def _remedy(protocol: str, error: ImportError) -> str:
    if protocol == "s3":
        return extra_command("s3")
    return f"run pip install {_PACKAGES[protocol]}" if protocol in _PACKAGES else str(error)
