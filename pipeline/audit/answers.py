"""What raters have answered: `answers/RATER.jsonl`, one JSON object a line. Lines are added, never changed.

The last line of an image counts; the earlier ones stay, since their seconds were spent too.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from model.disk import sync_folder
from model.documents import parse_object, read_document
from pipeline.audit.plan import ADJUDICATOR, AuditPlan
from pipeline.errors import CollectionError
from pipeline.files import local_disk
from pipeline.passes.mask_text import Rle, checked_rle

ANSWERS = "answers"
"""The folder of an audit that has the answers."""
AnswerVerdict = Literal["right", "fix", "wrong_object", "nothing_salient", "ambiguous", "skip"]
VERDICTS: tuple[AnswerVerdict, ...] = get_args(AnswerVerdict)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_LONGEST_NOTE = 1000
MOST_BYTES = 1 << 30  # 1 GiB: 10,000 answers with masks of 100 KB


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a rater says of one image."""

    plan: str
    """SHA-256 of the plan."""
    rater: str
    key: str
    verdict: AnswerVerdict
    """`right`: no pixel that matters is wrong · `fix`: the right object, and `mask` is how it should be ·
    `wrong_object`: another one is salient · `nothing_salient` · `ambiguous`: several would be as good · `skip`."""
    mask: Rle | None = None
    """Of `fix`, and of no other verdict: what the mask should be, at the image's size."""
    seconds: float = 0.0
    """Time that the image was worked on, idle time left out; 0 if unknown."""
    answered: str = ""
    """When, in UTC: 2026-11-26T12:00:00Z."""
    source: str = "page"
    """Where it comes from: `page`, or what it was imported from."""

    def encode(self) -> bytes:
        """Encode one line, with its end."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an audit asks, so that answers can be held against it."""

    plan: str
    """SHA-256 of the plan."""
    tasks: Mapping[str, frozenset[str]]
    """Rater, the adjudicator among them → the keys that are hers to judge."""
    sizes: Mapping[str, tuple[int, int]]
    """Key of each image of the sample → its height and width in pixels."""


def asked_by(plan: AuditPlan, rows: Mapping[str, Mapping[str, Any]]) -> Asked:
    """What a plan asks.

    Args: rows: rows of the manifest, for the sizes.
    """
    tasks = {rater: frozenset(plan.tasks_of(rater)) for rater in plan.raters}
    sizes = {image.key: (rows[image.key]["height"], rows[image.key]["width"]) for image in plan.sample}
    return Asked(plan=plan.digest, tasks=tasks | {ADJUDICATOR: frozenset(sizes)}, sizes=sizes)


def parse_answer(line: bytes, asked: Asked) -> Answer:
    """Read and check an answer.

    Raises: ValueError, KeyError, TypeError: it is not an answer of this audit; the message says what is wrong.
    """
    stored = parse_object(line)
    answer = Answer(**stored)
    if answer.plan != asked.plan:
        raise ValueError(f"it belongs to another plan: {str(answer.plan)[:64]!r} instead of {asked.plan}")
    if answer.key not in asked.sizes:
        raise ValueError(f"{str(answer.key)[:100]!r} is not in the sample")
    if answer.rater not in asked.tasks:
        raise ValueError(f"{str(answer.rater)[:100]!r} is no rater of this audit")
    if answer.key not in asked.tasks[answer.rater]:
        raise ValueError(f"{answer.key} is not a task of {answer.rater}")
    if answer.verdict not in VERDICTS:
        raise ValueError(f"verdict {str(answer.verdict)[:100]!r} is none of {', '.join(VERDICTS)}")
    if (answer.mask is not None) != (answer.verdict == "fix"):
        raise ValueError(f"{answer.key}: a mask belongs to the verdict fix, and to no other")
    if answer.mask is not None:
        answer = replace(answer, mask=checked_rle(answer.mask, *asked.sizes[answer.key]))
    if not (type(answer.seconds) in (int, float) and math.isfinite(answer.seconds) and 0 <= answer.seconds < 1e6):
        raise ValueError(f"{answer.key}: seconds is no number from 0 to 1,000,000")
    if answer.answered != "" and not _TIME.fullmatch(str(answer.answered)):
        raise ValueError(f"{answer.key}: answered is no time like 2026-11-26T12:00:00Z")
    if not isinstance(answer.source, str) or len(answer.source) > _LONGEST_NOTE:
        raise ValueError(f"{answer.key}: source is no short text")
    return answer


def parse_answers(content: bytes, where: str, asked: Asked) -> list[Answer]:
    """Read all answers of a file, in their order.

    Args:   where: the file, for the message.
    Raises: CollectionError: a line is not an answer of this audit. A torn last line, which a crash leaves, is left out.
    """
    answers = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            answers.append(parse_answer(line, asked))
        except (ValueError, KeyError, TypeError) as error:
            raise CollectionError(f"{where}, line {number}: {error}") from error
    return answers


def answers_file(audit: Path, rater: str) -> Path:
    """The file of a rater's answers."""
    return audit / ANSWERS / f"{rater}.jsonl"


def read_answers(audit: Path, asked: Asked) -> dict[str, list[Answer]]:
    """Read the answers of everybody.

    Returns: rater, the adjudicator among them → all answers in their order; raters without a file have none.
    Raises:  CollectionError: a line is not an answer of this audit.
    """
    found = {}
    for rater in asked.tasks:
        path = answers_file(audit, rater)
        content = read_document(path, MOST_BYTES) if path.is_file() else b""
        found[rater] = parse_answers(content, str(path), asked)
        if any(answer.rater != rater for answer in found[rater]):
            raise CollectionError(f"{path} has answers of somebody else than {rater}")
    return found


def add_answers(audit: Path, rater: str, answers: list[Answer]) -> None:
    """Add answers to a rater's file, and return only when they are on the disk. A torn last line is ended first."""
    path = answers_file(audit, rater)
    local_disk.make_folders(path.parent)
    is_new = not path.exists()
    with path.open("a+b") as stream:
        stream.seek(0, os.SEEK_END)
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":  # a crash has torn it: cut it off, it was never confirmed
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(b"".join(answer.encode() for answer in answers))
        stream.flush()
        os.fsync(stream.fileno())
    if is_new:
        sync_folder(path.parent)


def latest(answers: list[Answer]) -> dict[str, Answer]:
    """Key → the answer that counts."""
    return {answer.key: answer for answer in answers}
