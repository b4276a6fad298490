"""The names of images: safe ones, the form that names are compared in, and what a message says about one.

One name has several spellings in Unicode: macOS writes "é" as "e" and an accent (NFD), other systems as one letter
(NFC). They look alike and mean the same, so a name that is not found as it is spelled is looked for in NFC.
"""

import posixpath
import re
import unicodedata

from pipeline.errors import SampleError
from pipeline.records import Sample

_DRIVE = re.compile(r"[A-Za-z]:")


def safe_name(file_name: str) -> str:
    """`file_name` in normal form: relative, "/" between its parts, without "." parts.

    Raises: SampleError: `unsafe_path`: the name may lead out of its folder. "::" and "://" are refused because the URL
            of the folder joined with such a name would mean another place.
    """
    rules = {
        "is empty": not file_name,
        "is absolute": file_name.startswith("/"),
        "names a drive": _DRIVE.match(file_name) is not None,
        "has a backslash": "\\" in file_name,
        "has a NUL": "\0" in file_name,
        "has a '..' part": ".." in file_name.split("/"),
        "has URL syntax": "::" in file_name or "://" in file_name,
    }
    for rule, broken in rules.items():
        if broken:
            raise SampleError("unsafe_path", f"file_name {short(file_name)} {rule}; it must stay in the images folder")
    return posixpath.normpath(file_name)


def in_form(name: str) -> str:
    """The name in the form in which names are compared (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def missing(file_name: str) -> SampleError:
    """The error about an image that is not there; the same for a folder and for a zip of it."""
    return SampleError(
        "missing", f"file_name {short(file_name)}: no regular file of this name in the folder or archive of images"
    )


def ambiguous(file_name: str, kind: str, found: list[str]) -> SampleError:
    """The error about an image whose name fits several files."""
    where = f"file_name {short(file_name)}"
    return SampleError("unreadable", f"{where}: ambiguous, {len(found)} {kind} match: {found[:3]!r}")


def label_of(sample: Sample) -> str:
    """How messages name an image: its key and the start of its name."""
    return f"{sample.key} ({sample.file_name[:200]!r})"


def short(text: str) -> str:
    """The text as a message shows it."""
    return repr(text if len(text) <= 200 else text[:200] + "…")
