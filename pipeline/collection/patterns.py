"""Several files named by one text: braces, as webdataset writes them, and what shells expand.

`shards/{00000..00117}.tar` names every number, whether the file is there or not; `shards/*.tar` names what is there.
Both may be in one text, which is a path or a URL. In a URL of a web server, "?" begins a query and is no pattern.
"""

import re
from itertools import islice

from fsspec import AbstractFileSystem

from pipeline.files.urls import is_local

MOST_FILES = 1_000_000
"""How many files one pattern may name."""
_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")
_RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
_WILD = re.compile(r"[*?\[]")
_WILD_ON_THE_WEB = re.compile(r"\*")


def is_pattern(given: str) -> bool:
    """Does a path or URL name several files?"""
    return bool(_BRACES.search(given) or _wild(given).search(given))


def head_of(given: str) -> str:
    """The folder that a pattern begins with, up to its last "/" before the first sign of a pattern."""
    first = min(found.start() for found in (_BRACES.search(given), _wild(given).search(given)) if found)
    return given[: given.rfind("/", 0, first) + 1]


def without_braces(pattern: str) -> list[str]:
    """Every text that the braces of a pattern stand for, in the order of the pattern; each once.

    Raises: ValueError: braces are not closed, or they name more than `MOST_FILES`.
    """
    from braceexpand import braceexpand

    if not _BRACES.search(pattern):
        return [pattern]
    # Ranges are written out whole, by braceexpand, before their first text comes.
    is_long = any(abs(int(last) - int(first)) >= MOST_FILES for first, last in _RANGE.findall(pattern))
    texts = [] if is_long else list(islice(braceexpand(pattern, escape=False), MOST_FILES + 1))
    if is_long or len(texts) > MOST_FILES:
        raise ValueError(f"its braces name more than {MOST_FILES} files")
    return list(dict.fromkeys(texts))


def matches(fs: AbstractFileSystem, path: str, given: str) -> list[str]:
    """The paths in a file system that a text without braces names; sorted, or the path itself if it is no pattern."""
    if not _wild(given).search(given):
        return [path]
    return sorted(str(found) for found in fs.glob(path))


def _wild(given: str) -> re.Pattern[str]:
    on_the_web = not is_local(given) and given.partition("://")[0].lower() in ("http", "https")
    return _WILD_ON_THE_WEB if on_the_web else _WILD
