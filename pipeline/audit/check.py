"""Checks the certificates of a release as a suspicious stranger would: draws the sample again, reads every answer, and
computes every number and every text from them.

The sums of an annex, and whose it is, are checked before, with the release (`pipeline/release/check/annexes.py`). What
this can't find: answers that somebody edited together with everything that follows from them. `annex.json` then has
another SHA-256 than the published one, and no signature.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model.documents import parse_object
from pipeline.audit.annexed import (
    answer_digests,
    certificate_texts,
    derived_certificate,
    texts_version,
)
from pipeline.audit.answers import ANSWERS, MOST_BYTES
from pipeline.audit.audited.check import foreign_problem, preview_problems
from pipeline.audit.audited.page import preview_names
from pipeline.audit.judged import Judged, judge
from pipeline.audit.plan import PLAN, AuditPlan, differences_from_release, make_plan, parse_plan
from pipeline.audit.released import AuditedRelease, read_audited
from pipeline.errors import CollectionError, ConfigError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.progress.stages import stage
from pipeline.records import Problem
from pipeline.release.annex import Annex, read_annex
from pipeline.release.certified import CERTIFICATE, KIND
from pipeline.release.check.inspection import OTHER_WORDS
from pipeline.release.contents import SUMS

NOT_TOLD = (
    "whoever edits answers, and makes the certificate and annex.json anew, is found only by a signature, or by "
    "comparing the SHA-256 of annex.json with the published one"
)
_UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError, ZeroDivisionError,
    CollectionError, ConfigError, StorageError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCertificate:
    """A certificate whose sentence is readable."""

    number: int
    sentence: str
    is_sound: bool
    """Has no problem been found in it?"""


@dataclass(slots=True, kw_only=True)
class CertificateCheck:
    """What a check of a release's certificates found."""

    certificates: list[FoundCertificate] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unchecked: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_certificates(release: str, numbers: Sequence[int]) -> CertificateCheck:
    """Check the certificates of a release.

    Args:   release: folder or URL, already checked. numbers: of the annexes whose files are as they state.
    Raises: StorageUnavailableError: a file can't be read now.
    """
    found = CertificateCheck()
    annexes = [annex for annex in (read_annex(release, number) for number in numbers) if annex.kind == KIND]
    if not annexes:
        return found
    found.notes.append(NOT_TOLD)
    try:
        audited = read_audited(release)
    except StorageUnavailableError:
        raise
    except (CollectionError, StorageError) as error:
        found.unchecked += [Problem(where=annex.name, what=f"the certificate: {error}") for annex in annexes]
        return found
    for annex in annexes:
        before = len(found.problems)
        with stage(f"computing the certificate of {annex.name} again"):
            sentence = _Checking(release=release, annex=annex, audited=audited, found=found).check()
        found.certificates.append(
            FoundCertificate(number=annex.number, sentence=sentence, is_sound=len(found.problems) == before)
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checking:
    """The check of one certificate."""

    release: str
    annex: Annex
    audited: AuditedRelease
    found: CertificateCheck

    def check(self) -> str:
        """Compare every file with what follows from plan, answers and release; return the sentence."""
        where, sentence = CERTIFICATE, ""
        try:
            stated = parse_object(self._content(CERTIFICATE))
            sentence = str(stated["sentence"])[:1000]
            where = PLAN
            plan = parse_plan(self._content(PLAN))
            if self._told(_plan_problems(plan, stated, self.audited)):
                return sentence
            where = ANSWERS
            names = [name for name in self.annex.files if name.startswith(f"{ANSWERS}/")]
            judged = judge(self.audited, plan, {name: self._content(name) for name in names})
            where = CERTIFICATE
            # What was done to an answer says more than the numbers that no longer follow from it.
            if not (self._told(_answer_problems(stated, judged)) or self._told(self._number_problems(stated, judged))):
                where = "README.md"
                self._texts(judged, stated)
        except StorageUnavailableError:
            raise
        except _UNREADABLE as error:
            what = (
                str(error)[:300]
                if isinstance(error, CollectionError)
                else f"{type(error).__name__}: {str(error)[:300]}"
            )
            self._tell(where, f"can't be checked: {what}")
        return sentence

    def _content(self, name: str) -> bytes:
        if name not in self.annex.files:
            raise CollectionError(f"the annex has no {name}, which belongs to every certificate")
        if self.annex.files[name].file_bytes > MOST_BYTES:
            raise CollectionError(f"{name} is larger than any file of a certificate")
        return storage.read_checked(storage.join(self.release, self.annex.name, name), self.annex.files[name])

    def _number_problems(self, stated: Mapping[str, Any], judged: Judged) -> Iterator[tuple[str, str]]:
        derived = derived_certificate(judged, missing_as_failures=True)
        for what in list(differences(stated, derived))[:1]:
            if self._is_ours():
                yield CERTIFICATE, f"does not follow from the answers: {what}"
            else:
                self._skip(
                    CERTIFICATE, f"another version of this tool made it, and this one computes other numbers: {what}"
                )

    def _texts(self, judged: Judged, stated: Mapping[str, Any]) -> None:
        wanted, pictures = certificate_texts(judged, stated), preview_names(judged)
        named = self.annex.files.keys() - {SUMS}
        for name in sorted({*wanted, *pictures.values()} - named):
            if self._is_ours():
                self._tell(name, "belongs to this certificate, but annex.json does not name it")
        for name in sorted(named - set(pictures.values())):
            content = self._content(name)
            if content == wanted.get(name):
                continue
            if not self._is_ours():
                if problem := foreign_problem(name, content, self.audited.stated.files):
                    self._tell(name, problem)
                self._skip(name, OTHER_WORDS)
            elif name in wanted:
                self._tell(name, "does not say what this version of the tool writes for these answers")
            else:
                self._tell(name, "is not a file that certificates have")
        for key, name in pictures.items():
            for what in preview_problems(self._content(name), self.audited.rows[key]) if name in named else ():
                self._tell(name, what)

    def _told(self, problems: Iterator[tuple[str, str]]) -> bool:
        """Add problems; were there any?"""
        found = list(problems)
        for name, what in found:
            self._tell(name, what)
        return bool(found)

    def _is_ours(self) -> bool:
        """Did this version of the tool make the annex?"""
        return self.annex.texts == texts_version()

    def _tell(self, name: str, what: str) -> None:
        self.found.problems.append(Problem(where=f"{self.annex.name}/{name}", what=what))

    def _skip(self, name: str, what: str) -> None:
        self.found.unchecked.append(Problem(where=f"{self.annex.name}/{name}", what=what))


def _plan_problems(plan: AuditPlan, stated: Mapping[str, Any], audited: AuditedRelease) -> Iterator[tuple[str, str]]:
    """How plan and certificate differ from those that the release's digest fixes."""
    if (digest := stated["release"]["sha256"]) != audited.sha256:
        whose = f"{stated['release']['name']} {stated['release']['version']}"
        yield CERTIFICATE, f"is the certificate of another release: {whose}, whose release.json has SHA-256 {digest}"
    if differing := differences_from_release(plan, audited):
        drawn = [image.key for image in make_plan(audited, plan.config).sample]
        keys = [image.key for image in plan.sample]
        is_order = plan.sha256 == audited.sha256 and keys != drawn and sorted(keys) == sorted(drawn)
        yield PLAN, "has the drawn images in another order than the release's digest" if is_order else differing[0]
    elif stated["plan"] != plan.digest:
        yield CERTIFICATE, f"names another plan than the one beside it: {stated['plan']}"


def _answer_problems(stated: Mapping[str, Any], judged: Judged) -> Iterator[tuple[str, str]]:
    """What was done to the answers since the certificate was made."""
    found = answer_digests(judged.files)
    for name in sorted(stated["answers"].keys() | found.keys()):
        before, now = stated["answers"].get(name), found.get(name)
        if before is None or now is None:
            yield (
                name,
                f"has {now['answers']} answers, of which the certificate knows none"
                if now
                else (f"is missing: the certificate was made from its {before['answers']} answers"),
            )
        elif before["answers"] != now["answers"]:
            done = "dropped" if before["answers"] > now["answers"] else "added"
            yield (
                name,
                f"answers were {done}: it has {now['answers']}, the certificate was made from {before['answers']}",
            )
        elif before["sha256_of_sorted_lines"] != now["sha256_of_sorted_lines"]:
            yield name, "an answer was edited: its SHA-256 is not the one that the certificate was made from"
        elif before["sha256"] != now["sha256"]:
            yield name, "answers were put into another order"


def differences(stated: Any, derived: Any, where: str = "") -> Iterator[str]:
    """Where two values of JSON differ, in words."""
    if isinstance(stated, dict) and isinstance(derived, dict):
        for name in sorted(stated.keys() | derived.keys()):
            place = f"{where}.{name}" if where else name
            if name not in derived:
                yield f"it has {place}, which no certificate has"
            elif name not in stated:
                yield f"it lacks {place}"
            else:
                yield from differences(stated[name], derived[name], place)
    elif isinstance(stated, list) and isinstance(derived, list) and len(stated) == len(derived):
        for number, (one, other) in enumerate(zip(stated, derived, strict=True)):
            yield from differences(one, other, f"{where}[{number}]")
    elif type(stated) is not type(derived) or stated != derived:
        yield f"{where} is {_short(stated)}, the answers give {_short(derived)}"


def _short(value: Any) -> str:
    return ascii(value)[:100]
