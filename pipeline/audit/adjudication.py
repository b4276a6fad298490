"""The third look: images on which two raters differ, or which one has skipped, as tasks of the adjudicator.

She sees what the raters say as A and B, without names, in an order that follows from a hash. Nothing tells the
release's own mask from a drawn one. Where fewer than two have judged an image, or neither has a mask, she sees the
release's mask too, as the raters did.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.audit.answers import Answer, latest, read_answers
from pipeline.audit.folder import Audit, open_audit
from pipeline.audit.outcomes import disputed
from pipeline.audit.page.bundle import require_page, task_of, tasks_script
from pipeline.audit.plan import ADJUDICATOR, Drawn
from pipeline.errors import CollectionError
from pipeline.files import local_disk
from pipeline.passes.mask_text import Rle
from pipeline.progress.stages import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjudicated:
    """What waits for the adjudicator."""

    disputes: int
    """Images that need a third look and have none yet."""
    index: str
    """The page, at the adjudicator's own place."""


def write_adjudication(path: Path) -> Adjudicated:
    """Write the adjudicator's tasks; a second time, with the disputes of by then.

    Images that she has settled stay among her tasks, so that she can change her mind.
    Raises: CollectionError: there is no audit or no page, or an answer is not of this audit.
    """
    audit = open_audit(path)
    require_page(path)
    answers, masks = read_answers(path, audit.asked), audit.masks()
    by_raters = {rater: given for rater, given in answers.items() if rater != ADJUDICATOR}
    waiting = disputed(audit.plan, answers, masks)
    every = set(disputed(audit.plan, by_raters, masks))
    tasks = [
        {**task_of(audit.audited.rows[image.key], _suffix(audit, image.key)), **_seen(audit, image, by_raters, masks)}
        for image in audit.plan.sample
        if image.key in every
    ]
    target = path / "tasks" / f"{ADJUDICATOR}.js"
    local_disk.write(target, tasks_script(audit.plan, ADJUDICATOR, tasks))
    say(f"{len(waiting)} images wait for a third look, {len(tasks) - len(waiting)} have had one")
    return Adjudicated(disputes=len(waiting), index=f"{path / 'index.html'}#{ADJUDICATOR}")


def _seen(
    audit: Audit, image: Drawn, by_raters: Mapping[str, Sequence[Answer]], masks: Mapping[str, Rle]
) -> dict[str, Any]:
    given = [latest(list(by_raters[rater])).get(image.key) for rater in image.raters]
    looks = list(_looks(audit.plan.digest, [answer for answer in given if answer], masks[image.key]))
    return {"looks": looks, "is_blind": len(looks) == 2 and any(look["mask"] for look in looks)}


def _looks(plan: str, given: Sequence[Answer], mask: Rle) -> Iterator[dict[str, Any]]:
    """What two raters saw, in an order that says nothing; skips are no look."""
    order = sorted(given, key=lambda answer: hashlib.sha256(f"{plan}:{answer.key}:{answer.rater}".encode()).hexdigest())
    judged = [answer for answer in order if answer.verdict != "skip"]
    for name, answer in zip("AB", judged, strict=False):
        yield {"name": name, "verdict": answer.verdict, "mask": mask if answer.verdict == "right" else answer.mask}


def _suffix(audit: Audit, key: str) -> str:
    found = sorted(file.suffix.removeprefix(".") for file in (audit.path / "images").glob(f"{key}.*"))
    if not found:
        raise CollectionError(f"{audit.path} has no page: its image of {key} is missing. Plan the audit again")
    return found[0]
