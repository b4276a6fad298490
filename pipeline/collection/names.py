"""The names of images: which file a name means, safe ones, and what a message says about one.

Annotations and tables name images in other words than the files have: with or without a folder, as an absolute name or
an address, with the backslashes of Windows, or in another form of Unicode. `index_names` is the one rule for all kinds
of places: a name means the file that is spelled so, else the only one that it can mean, and never one that another name
has. What is not there under any of these spellings is missing; a name that leaves the place is unsafe.

One name has several spellings in Unicode: macOS writes "é" as "e" and an accent (NFD), other systems as one letter
(NFC). They look alike and mean the same, so a name that is not found as it is spelled is looked for in NFC.
"""

import logging
import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

from pipeline.errors import SampleError
from pipeline.records import Sample

log = logging.getLogger(__name__)

_PLAIN = re.compile(r"\w[\w -]*(?:[./][\w -]+)*", re.ASCII)
"""Names that are safe and in normal form, told in a tenth of the time: those of COCO, and of most cameras."""
_DRIVE = re.compile(r"[A-Za-z]:")
_ADDRESS = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://[^/]*/", re.IGNORECASE)
_FILE = "file://"
_SETTINGS_OF_MACOS = ".DS_Store"
_Rule = tuple[str, Callable[[str], Sequence[str]]]
"""In words, and what tells from a name in NFC the names that it may mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameIndex:
    """The names that are there, and those that mean one of them in other words."""

    there: Container[str]
    starts: Sequence[str]
    """What absolute names of images in this place begin with."""
    others: Mapping[str, Sequence[str]]
    """Name that is not there as it is spelled → what it means, several if it is ambiguous."""

    def find(self, file_name: str) -> str:
        """The name that is there and is meant by `file_name`.

        Raises: SampleError: `unsafe_path`, `missing`, or `unreadable` (ambiguous).
        """
        name, is_address = relative_name(file_name, self.starts), _is_address(file_name, self.starts)
        if not is_address:
            for spelled in (file_name, name):
                if spelled in self.there:
                    return spelled
        found = self.others.get(file_name if is_address else name, ())
        if len(found) > 1:
            raise ambiguous(file_name, "files", found)
        if found:
            return found[0]
        if is_address:
            raise _unsafe(file_name, "has URL syntax, and no single file has the name at its end")
        raise missing(file_name)


def index_names(
    there: Collection[str], wanted: Collection[str], root: str = "", what: str = "names of images"
) -> NameIndex:
    """Find out which of the names that are there is meant by each of the wanted ones; the log has what is not obvious.

    Args:   there: names of files, relative, each once; a set or a mapping.
            wanted: all names that will be looked up; none if these are those that are there.
            root: the folder itself, an absolute path or a URL; "" if nothing else can name files in it.
            what: what the names are, for the log.
    """
    starts = starts_of(root)
    meanings: dict[str, str] = {}
    taken: set[str] = set()
    left: dict[str, str] = {}
    for name in wanted:
        with suppress(SampleError):
            plain, is_address = relative_name(name, starts), _is_address(name, starts)
            meaning = name if is_address else plain
            meanings[meaning] = plain
            found = None if is_address else next((spelled for spelled in (name, plain) if spelled in there), None)
            if found is None:
                left[meaning] = in_form(plain)
            else:
                taken.add(found)
    if not left:
        return NameIndex(there=there, starts=starts, others={})
    forms = [in_form(plain) for plain in meanings.values()]
    others, said = _recognised(left, _rules(there, forms, has_exact=bool(taken)), taken)
    if others:
        log.info("%s: %d of %d are there as they are spelled, %s", what, len(taken), len(wanted), ", ".join(said))
    return NameIndex(there=there, starts=starts, others=others)


def starts_of(root: str) -> tuple[str, ...]:
    """What the absolute names of files below a folder begin with.

    Args: root: an absolute path or a URL; "": nothing.
    """
    if not root.startswith("/"):
        return (root.rstrip("/") + "/",) if root else ()
    folders = dict.fromkeys(folder.rstrip("/") + "/" for folder in (root, os.path.realpath(root)))
    return (*folders, *(_FILE + folder for folder in folders))


def relative_name(file_name: str, starts: Sequence[str] = ()) -> str:
    """The name relative to the place of the images, in normal form.

    Of an address of a server, this is the path there.
    Args:   starts: what absolute names of files there begin with.
    Raises: SampleError: `unsafe_path`: the name may lead out of the place.
    """
    if _PLAIN.fullmatch(file_name):
        return file_name
    start = next((start for start in starts if file_name.startswith(start)), "")
    if start:
        return safe_name(file_name[len(start) :], file_name)
    address = _ADDRESS.match(file_name)
    if address and "::" not in file_name:
        return safe_name(unquote(re.split(r"[?#]", file_name[address.end() :])[0]), file_name)
    return safe_name(file_name)


def safe_name(file_name: str, said: str = "") -> str:
    """`file_name` in normal form: relative, "/" between its parts, without "." parts.

    A backslash is a slash: Windows writes it so, and nobody else writes any.
    Args:   said: how messages name the image, if not by this name.
    Raises: SampleError: `unsafe_path`: the name may lead out of its folder. "::" and "://" are refused because the URL
            of the folder joined with such a name would mean another place.
    """
    name = file_name.replace("\\", "/")
    rules = {
        "is empty": not name,
        "is absolute": name.startswith("/"),
        "names a drive": _DRIVE.match(name) is not None,
        "has a NUL": "\0" in name,
        "has a '..' part": ".." in name.split("/"),
        "has URL syntax": _has_url_syntax(name),
        "is not valid text": not _is_text(name),
    }
    for rule, broken in rules.items():
        if broken:
            raise _unsafe(said or file_name, rule)
    return posixpath.normpath(name)


def in_form(name: str) -> str:
    """The name in the form in which names are compared (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_added(name: str) -> bool:
    """Is it the name of a file that macOS adds beside others?"""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] == _SETTINGS_OF_MACOS


def missing(file_name: str) -> SampleError:
    """The error about an image that is not there; the same for a folder and for a zip of it."""
    return SampleError(
        "missing", f"file_name {short(file_name)}: no regular file of this name in the folder or archive of images"
    )


def ambiguous(file_name: str, kind: str, found: Sequence[str]) -> SampleError:
    """The error about an image whose name fits several files."""
    where = f"file_name {short(file_name)}"
    return SampleError(
        "unreadable", f"{where}: ambiguous, {len(found)} {kind} match: [{', '.join(told_apart(found[:3]))}]"
    )


def told_apart(names: Sequence[str]) -> list[str]:
    """Names as a message shows them: with escapes, if some of them differ only in their form of Unicode."""
    look_alike = len(set(map(in_form, names))) < len(names)
    return list(map(ascii if look_alike else repr, names))


def label_of(sample: Sample) -> str:
    """How messages name an image: its key and the start of its name."""
    return f"{sample.key} ({sample.file_name[:200]!r})"


def short(text: str) -> str:
    """The text as a message shows it."""
    return repr(text if len(text) <= 200 else text[:200] + "…")


def ends_of(name: str) -> Iterator[str]:
    """The name, and what is left of it without its first folder, its first two, and so on."""
    while name:
        yield name
        name = name.partition("/")[2]


def _recognised(
    left: Mapping[str, str], rules: Iterable[_Rule], taken: Set[str]
) -> tuple[dict[str, Sequence[str]], list[str]]:
    """Find out what is meant by names that are not there as they are spelled; the first rule that knows it decides.

    Args:    left: meaning → its name in NFC, of those. taken: names that are there and have been asked for as such.
    Returns: meaning → names that are there, and in words how many were recognised by what.
    """
    found: dict[str, Sequence[str]] = {}
    said: list[str] = []
    for words, meant in rules:
        claims = {meaning: there for meaning, name in left.items() if meaning not in found and (there := meant(name))}
        claimed = Counter(name for there in claims.values() for name in there)
        new = {
            meaning: sorted(there)
            for meaning, there in claims.items()
            if all(claimed[name] == 1 and name not in taken for name in there)
        }
        taken = taken | {name for there in new.values() for name in there}
        found |= new
        if new:
            example = min(new)
            said.append(f"{len(new)} {words} ({short(example)} is {short(new[example][0])}, for example)")
        if len(found) == len(left):
            break
    return found, said


def _rules(there: Iterable[str], wanted: Sequence[str], *, has_exact: bool) -> Iterator[_Rule]:
    """How a name may be meant that is not there as it is spelled, the surest way first; each is prepared on demand.

    Args: wanted: all names in NFC, one for each meaning. has_exact: are any of them there as they are spelled?
    """
    by_form = _grouped((in_form(name), name) for name in there if not is_added(name) and not _has_url_syntax(name))
    yield "in another form of Unicode, or as an address", lambda name: by_form.get(name, ())
    tops = {form.partition("/")[0] for form in by_form}
    if len(tops) == 1 and not has_exact:  # else names have the folder already
        top = f"{tops.pop()}/"
        yield "in the one folder that holds all", lambda name: by_form.get(top + name, ())
    with_folder = {name for name in wanted if "/" in name}
    # Of the wanted names in which one that is there may end, it is meant by the longest.
    ends = ((next((end for end in ends_of(form) if end in with_folder), ""), form) for form in by_form)
    by_end = _grouped((end, name) for end, form in ends if end for name in by_form[form])
    yield "in further folders", lambda name: by_end.get(name, ())
    yield "without the first folders", lambda name: _in_fewer_folders(name, by_form)
    bases = Counter(map(posixpath.basename, wanted))
    by_base = _grouped(
        (base, name)
        for form, names in by_form.items()
        if bases[base := posixpath.basename(form)] == 1
        for name in names
    )
    yield "in another folder", lambda name: by_base.get(posixpath.basename(name), ())


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in pairs:
        groups[key].append(name)
    return dict(groups)


def _in_fewer_folders(name: str, by_form: Mapping[str, Sequence[str]]) -> Sequence[str]:
    return next((by_form[end] for end in ends_of(name) if "/" in end and end in by_form), ())


def _is_address(file_name: str, starts: Sequence[str]) -> bool:
    return "://" in file_name and not any(file_name.startswith(start) for start in starts)


def _has_url_syntax(name: str) -> bool:
    return "::" in name or "://" in name


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _unsafe(file_name: str, rule: str) -> SampleError:
    return SampleError("unsafe_path", f"file_name {short(file_name)} {rule}; it must stay in the images folder")
