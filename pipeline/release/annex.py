"""Annexes: folders that are added to a release after it was made. No file of the release changes.

RELEASE/annex/1/SHA256SUMS     written first, by exclusive create: whoever writes it has the number
RELEASE/annex/1/…              the files
RELEASE/annex/1/annex.json     written last; without it there is no annex
RELEASE/annex/2/…              the next one

The sums follow from all other files. So two processes that find the same ones write the same annex, and one that finds
others takes the next number: no annex is ever a mixture, and whoever died halfway can run the same command again.
Nothing here knows what an annex says; `check/annexes.py` checks what all of them have in common.
"""

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model.documents import MOST_BYTES as DOCUMENT_BYTES
from model.documents import parse_json
from pipeline.errors import CollectionError, UsageError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.files.trials import require_exclusive_create
from pipeline.records import StoredFile
from pipeline.release.check.release_json import read_release_json, stated_files
from pipeline.release.contents import SUMS, sha256_sums
from pipeline.release.identity import RELEASE_JSON
from pipeline.release.signature import SIGNATURE

ANNEX = "annex"
"""The folder of a release that has its annexes."""
ANNEX_JSON = "annex.json"
ADDED_LATER = frozenset({ANNEX, RELEASE_JSON + SIGNATURE})
"""What may lie in the folder of a release although its `release.json` does not name it."""
FORMAT = 1
_ENTRIES = {"files", "format", "kind", "number", "release", "texts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Annex:
    """A complete annex, as its `annex.json` states it."""

    number: int
    """1, 2, …"""
    kind: str
    """What it is, such as `certificate`."""
    release: Mapping[str, str]
    """Name, version, and SHA-256 of `release.json` of the release that it belongs to."""
    texts: str
    """Digest of the code that wrote its texts; "" if they do not depend on any."""
    files: Mapping[str, StoredFile]
    """Every file but `annex.json`; names are relative to the annex."""
    sha256: str
    """SHA-256 of `annex.json`, which has the sums of all other files: the identity of the annex."""

    @property
    def name(self) -> str:
        """Its folder, relative to the release."""
        return f"{ANNEX}/{self.number}"


def add_annex(release: str, kind: str, files: Mapping[str, bytes], texts: str = "") -> Annex:
    """Add an annex to a release, with the next free number; the same one a second time adds nothing.

    Args:   release: folder or URL.
            files: name → content; they are written in this order.
            texts: digest of the code that wrote them.
    Raises: CollectionError: there is no release. ConfigError: its storage can't be written, or lets a file be created
            twice. UsageError: a name is one that annexes write themselves. StorageError: files of an unfinished annex
            were changed.
    """
    content = read_release_json(release)
    stated = parse_json(content)
    about = {"name": stated["name"], "version": stated["version"], "sha256": hashlib.sha256(content).hexdigest()}
    if taken := {SUMS, ANNEX_JSON, ANNEX_JSON + SIGNATURE} & files.keys():
        raise UsageError(f"an annex writes its own {', '.join(sorted(taken))}: leave it out of the files")
    require_exclusive_create(release)
    stored = [storage.stored_file(name, content) for name, content in sorted(files.items())]
    number, sums = _claimed(release, sha256_sums(stored))
    for name, content in files.items():
        storage.add(_place(release, number, name), content)
    document = encode_json(
        {
            "format": FORMAT,
            "kind": kind,
            "number": number,
            "release": about,
            "texts": texts,
            "files": [asdict(file) for file in sorted([*stored, sums], key=lambda file: file.name)],
        }
    )
    storage.add(_place(release, number, ANNEX_JSON), document)
    return parse_annex(document)


def annexes_of(release: str) -> list[Annex]:
    """Read the complete annexes of a release, in the order of their numbers.

    Args:   release: folder or URL.
    Raises: CollectionError: an `annex.json` can't be understood.
    """
    numbers = numbers_of(release)
    return [read_annex(release, number) for number in numbers if storage.is_file(_place(release, number, ANNEX_JSON))]


def read_annex(release: str, number: int) -> Annex:
    """Read a complete annex.

    Raises: CollectionError: its `annex.json` can't be understood. StorageError: it has none.
    """
    url = _place(release, number, ANNEX_JSON)
    try:
        return parse_annex(storage.read(url, DOCUMENT_BYTES))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CollectionError(
            f"{url} is malformed ({type(error).__name__}: {str(error)[:200]}); sod release verify lists every problem"
        ) from error


def numbers_of(release: str) -> list[int]:
    """The numbers of all annexes of a release, unfinished ones too, in ascending order."""
    return sorted(int(name) for name in storage.list_names(storage.join(release, ANNEX)) if is_number(name))


def is_number(name: str) -> bool:
    """Is this the name of an annex's folder?"""
    return name.isascii() and name.isdecimal() and not name.startswith("0") and len(name) < 7


def parse_annex(content: bytes) -> Annex:
    """Read an `annex.json`; nothing in it is believed before it is checked.

    Raises: ValueError, KeyError, TypeError, AttributeError, RecursionError: it is not that.
    """
    stated: dict[str, Any] = parse_json(content)
    if stated.get("format") != FORMAT:
        raise ValueError(f"its format is {stated.get('format')!r}, and this version of the tool reads {FORMAT}")
    if unknown := sorted(stated.keys() - _ENTRIES):
        raise ValueError(f"it has {ascii(unknown)[:300]}, which no annex has")
    release = {name: stated["release"][name] for name in ("name", "version", "sha256")}
    if not all(isinstance(value, str) for value in (stated["kind"], stated["texts"], *release.values())):
        raise ValueError("its kind, texts or release is no text")
    if type(stated["number"]) is not int:
        raise ValueError("its number is none")
    wrong: list[str] = []
    files = stated_files(stated["files"], wrong.append, itself=ANNEX_JSON)
    if wrong:
        raise ValueError(f"it {wrong[0]}")
    return Annex(
        number=stated["number"],
        kind=stated["kind"],
        release=release,
        texts=stated["texts"],
        files=files,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _claimed(release: str, sums: bytes) -> tuple[int, StoredFile]:
    """Claim the first number that is free, or that somebody claimed for the very same files."""
    for number in itertools.count(1):
        url = _place(release, number, SUMS)
        if storage.create(url, sums) or storage.read(url) == sums:
            return number, storage.stored_file(SUMS, sums)
    raise AssertionError("there is always a next number")


def _place(release: str, number: int, name: str) -> str:
    return storage.join(release, ANNEX, str(number), name)
