"""Checks what all annexes of a release have in common: sums, names, numbers, and that they belong to this release.

What an annex says is checked by whoever knows its kind.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from model.documents import MOST_BYTES as DOCUMENT_BYTES
from pipeline.files import storage
from pipeline.records import Problem, StoredFile
from pipeline.release.annex import ANNEX, ANNEX_JSON, Annex, is_number, numbers_of, parse_annex
from pipeline.release.check.containers import links
from pipeline.release.check.limits import most_bytes
from pipeline.release.check.page import data_problem
from pipeline.release.contents import SUMS, sha256_sums
from pipeline.release.signature import SIGNATURE
from pipeline.release.strays import stray_files

_RUN_BY_THE_PAGE = "certificate.js"
"""The page of a release runs this script, whatever the annex is, and whether or not it was ever finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnexCheck:
    """What was found of the annexes of a release."""

    annexes: list[Annex] = field(default_factory=list)
    """Those that are complete, and whose files are as they state."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Annexes that were never finished, which belong to nobody's release yet."""


def check_annexes(release: str, sha256: str) -> AnnexCheck:
    """Check the annexes of a release, reading every byte of them once.

    Args: release: folder or URL. sha256: of its `release.json`.
    """
    found = AnnexCheck()
    for name in storage.list_names(storage.join(release, ANNEX), hidden=True):
        if not is_number(name):
            found.problems.append(Problem(where=f"{ANNEX}/{name}", what="is not an annex: annexes are called 1, 2, …"))
    numbers = numbers_of(release)
    for number in sorted(set(range(1, max(numbers, default=0))) - set(numbers)):
        found.problems.append(Problem(where=f"{ANNEX}/{number}", what="is missing, though there are later ones"))
    for number in numbers:
        _check_annex(release, number, sha256, found)
    return found


def _check_annex(release: str, number: int, sha256: str, found: AnnexCheck) -> None:
    place = f"{ANNEX}/{number}"
    if problem := _script_problem(storage.join(release, place, _RUN_BY_THE_PAGE)):
        found.problems.append(Problem(where=f"{place}/{_RUN_BY_THE_PAGE}", what=problem))
        return
    url = storage.join(release, place, ANNEX_JSON)
    if not storage.is_file(url):
        found.notes.append(f"{place} is unfinished: it has no {ANNEX_JSON}, so it says nothing of this release")
        return
    try:
        annex = parse_annex(storage.read(url, DOCUMENT_BYTES))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"is malformed: {type(error).__name__}: {str(error)[:200]}"
        found.problems.append(Problem(where=f"{place}/{ANNEX_JSON}", what=what))
        return
    problems = [
        Problem(where=f"{place}/{name}" if name else place, what=what)
        for name, what in _problems(release, number, sha256, annex)
    ]
    for name in _left_behind(storage.join(release, place)):
        found.notes.append(f"{place}/{name} was left by a session that was killed; remove it")
    found.problems.extend(problems)
    if not problems:
        found.annexes.append(annex)


def _problems(release: str, number: int, sha256: str, annex: Annex) -> Iterator[tuple[str, str]]:
    """Name of a file, relative to the annex, and what is wrong with it."""
    folder, known = storage.join(release, annex.name), {ANNEX_JSON, *annex.files}
    if annex.number != number:
        yield ANNEX_JSON, f"says that it is annex {annex.number}"
        return
    if annex.release["sha256"] != sha256:
        whose = f"{annex.release['name']} {annex.release['version']}"
        yield ANNEX_JSON, f"belongs to another release: {whose}, whose SHA-256 is {annex.release['sha256']}"
    for name in stray_files(folder, known | {ANNEX_JSON + SIGNATURE}):
        if not storage.is_unfinished(name.rpartition("/")[2]):
            yield name, f"exists, but {ANNEX_JSON} does not name it"
    for name, target in links(release, {f"{annex.name}/{name}" for name in known | {ANNEX_JSON + SIGNATURE}}):
        if name != ANNEX:  # the check of the release names that one
            yield name.removeprefix(annex.name).lstrip("/"), f"is a symbolic link to {target}; copy it with its files"
    for name, file in annex.files.items():
        if problem := _file_problem(storage.join(folder, name), file):
            yield name, problem
    others = [file for name, file in sorted(annex.files.items()) if name != SUMS]
    if annex.files.get(SUMS) != storage.stored_file(SUMS, sha256_sums(others)):
        yield SUMS, f"its sums differ from those in {ANNEX_JSON}"


def _script_problem(url: str) -> str:
    """What is wrong with the script that the page runs, "" if nothing, or if there is none."""
    if not storage.is_file(url):
        return ""
    found_bytes = storage.file_bytes_of(url)
    if found_bytes > DOCUMENT_BYTES:
        return f"has {found_bytes:,} bytes; of such a file at most {DOCUMENT_BYTES:,} are read"
    return data_problem(storage.read(url, DOCUMENT_BYTES))


def _left_behind(folder: str) -> Iterator[str]:
    yield from (name for name in storage.list_names(folder, hidden=True) if storage.is_unfinished(name))


def _file_problem(url: str, stated: StoredFile) -> str:
    """How a file differs from what its annex states, "" if it does not."""
    if not storage.is_file(url):
        return "is missing, or not a plain file"
    found_bytes, most = storage.file_bytes_of(url), most_bytes(stated.name)
    if found_bytes > most:
        return f"has {found_bytes:,} bytes; of such a file at most {most:,} are read"
    found = storage.stored_file(stated.name, storage.read(url, most))
    if found != stated:
        has = f"has {found.file_bytes} bytes and SHA-256 {found.sha256}"
        return f"{has}; {ANNEX_JSON} states {stated.file_bytes} and {stated.sha256}"
    return ""
