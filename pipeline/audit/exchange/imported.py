"""Take answers from elsewhere: all of a file's are checked before the first is added."""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pycocotools import mask as coco_mask

from model.documents import read_document
from pipeline.audit.answers import MOST_BYTES, Answer, add_answers, latest, parse_answer, parse_answers, read_answers
from pipeline.audit.exchange import coco, cvat, label_studio, mask_files
from pipeline.audit.exchange.given import Reading, answer_of, images_of
from pipeline.audit.folder import Audit, open_audit
from pipeline.errors import CollectionError, ConfigError
from pipeline.files.formats import format_of
from pipeline.progress.stages import say

Source = Literal["answers", "coco", "cvat", "label-studio", "masks"]
_READERS = {
    "coco": (coco.read, coco.MOST_BYTES),
    "cvat": (cvat.read, cvat.MOST_BYTES),
    "label-studio": (label_studio.read, label_studio.MOST_BYTES),
}
_DIGITS = 12
"""Of a SHA-256, to tell files apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was taken."""

    rater: str
    images: int
    """That the file is about."""
    added: int
    """Answers that are new."""
    unchanged: int
    """Answers that were there before, and count."""
    without_answer: int
    """Images of which the file says nothing."""


def import_sample(audit: Path, source: Path, source_format: Source, rater: str) -> Imported:
    """Add the answers of a file, or of a folder of masks, to those of a rater; they count from then on.

    A second import of it adds nothing, unless other answers have come in between. Those that the page has saved keep
    their own times: an older file of them comes before what is newer.

    Args:   rater: whose they are; "" with `answers`, which say so themselves.
    Raises: ConfigError: no such rater. CollectionError: the file can't be read, contradicts itself, or is about images
            that are not hers to judge; nothing is added then.
    """
    opened = open_audit(audit)
    if source_format == "answers":
        answers = _saved(source, opened, rater)
        rater, images = (answers[0].rater if answers else rater), len({answer.key for answer in answers})
    else:
        if rater not in opened.asked.tasks:
            raise ConfigError(f"--rater {rater!r}: whose answers are they? One of {', '.join(opened.asked.tasks)}")
        reading = _read(source, source_format, rater, opened)
        images, answers = len(reading.given), _derived(reading, source, source_format, rater, opened)
        if reading.left_out:
            say(f"{len(reading.left_out)} masks are of images that {rater} does not judge: {reading.left_out[0]} …")
        if source_format == "masks":
            _say_how_many_are_empty(reading)
    there = read_answers(audit, opened.asked).get(rater, [])
    new = _later(answers, there) if source_format == "answers" else _changed(answers, there)
    if new:
        add_answers(audit, rater, new)
    imported = Imported(
        rater=rater,
        images=images,
        added=len(new),
        unchanged=len(answers) - len(new),
        without_answer=0 if source_format == "answers" else images - len(answers),
    )
    say(f"{imported.added} answers of {rater} added; {imported.unchanged} were there before")
    if imported.without_answer:
        say(f"{imported.without_answer} images have no answer: {source} gives them no verdict")
    return imported


def _say_how_many_are_empty(reading: Reading) -> None:
    """Masks in an odd form may look empty to us, and a rater knows how many scenes she left without an object."""
    empty = [given.key for given in reading.given if given.mask is not None and not coco_mask.area(given.mask)]
    if empty:
        say(
            f"{len(empty)} of {len(reading.given)} masks have no pixel, which says that nothing is salient: "
            f"{empty[0]}, for example"
        )


def _changed(answers: list[Answer], there: list[Answer]) -> list[Answer]:
    """The answers of a file that do not count yet. An earlier line that says the same may have been replaced since."""
    counting = {key: _identity(answer) for key, answer in latest(there).items()}
    return [answer for answer in answers if _identity(answer) != counting.get(answer.key)]


def _later(answers: list[Answer], there: list[Answer]) -> list[Answer]:
    """The lines of a copy of an audit's answers that are not there yet, in their order.

    They are not compared with what counts, since a copy also has what was replaced. The page's lines have times, so
    none is given twice. An import's have none: a file that was restored has the same line twice, so they are counted.
    """
    left, new = Counter(map(_identity, there)), []
    for answer in answers:
        if not left[_identity(answer)]:
            new.append(answer)
        elif answer.source != "page":
            left[_identity(answer)] -= 1
    return new


def _identity(answer: Answer) -> bytes:
    """What makes an answer the same. A file's time may change when it is copied."""
    return (answer if answer.source == "page" else replace(answer, answered="")).encode()


def _saved(source: Path, opened: Audit, rater: str) -> list[Answer]:
    """The answers that the page has saved, all of one rater."""
    content = _content(source, MOST_BYTES)
    end = b"" if content.endswith(b"\n") or not content else b"\n"  # without it, the last line would count as torn
    answers = parse_answers(content + end, str(source), opened.asked)
    raters = {answer.rater for answer in answers}
    if len(raters) > 1:
        raise CollectionError(f"{source} has answers of {', '.join(sorted(raters))}: import one rater's at a time")
    if rater and raters - {rater}:
        raise ConfigError(f"--rater {rater}: the answers of {source} are those of {', '.join(raters)}")
    return answers


def _read(source: Path, source_format: Source, rater: str, opened: Audit) -> Reading:
    images = images_of(opened.asked, opened.audited.file_names)
    try:
        if source_format == "masks":
            reading = mask_files.read(source, images, opened.asked.tasks[rater])
        else:
            read, most_bytes = _READERS[source_format]
            content = _content(source, most_bytes)
            digest = hashlib.sha256(content).hexdigest()
            reading = read(content, images)
            reading = replace(reading, given=tuple(replace(given, digest=digest) for given in reading.given))
        (key, times), *_ = Counter(given.key for given in reading.given).most_common(1) or [("", 0)]
        if times > 1:
            raise ValueError(f"{key} is there {times} times")
    except (KeyError, TypeError, AttributeError) as error:
        raise _refused(
            source, f"it is no file of {source_format} ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    except ValueError as error:
        raise _refused(source, str(error)) from error
    return reading


def _derived(reading: Reading, source: Path, source_format: Source, rater: str, opened: Audit) -> list[Answer]:
    """The answers that follow from what a file says, each checked as if the page had saved it."""
    masks = opened.masks()
    answers = []
    for given in reading.given:
        try:
            found = answer_of(given, masks[given.key], has_verdicts=reading.has_verdicts)
            if found is None:
                continue
            answer = Answer(
                plan=opened.asked.plan,
                rater=rater,
                key=given.key,
                verdict=found[0],
                mask=found[1],
                seconds=given.seconds,
                answered=given.answered,
                source=f"import {source_format} {given.digest[:_DIGITS]}",
            )
            answers.append(parse_answer(answer.encode(), opened.asked))
        except (ValueError, KeyError, TypeError) as error:
            raise _refused(source, str(error)) from error
    return answers


def _content(source: Path, most_bytes: int) -> bytes:
    try:
        content = read_document(source, most_bytes)
    except ValueError as error:
        raise _refused(source, str(error)) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError, NotADirectoryError) as error:
        raise CollectionError(f"{source} can't be read: {error.strerror}") from error
    if format_of(content[:512]) == "zip archive":
        raise CollectionError(f"{source} is a zip: unpack it, and give the file of annotations in it")
    return content


def _refused(source: Path, why: str) -> CollectionError:
    return CollectionError(f"{source}: {why}. Nothing was added")
