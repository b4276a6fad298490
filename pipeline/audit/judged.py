"""What raters have said about a release, and what follows from it: the common ground of whoever makes and checks it."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.audit.answers import ANSWERS, Answer, asked_by, latest, parse_answers
from pipeline.audit.outcomes import Outcome, Pair, iou_of, settle
from pipeline.audit.plan import ADJUDICATOR, AuditPlan
from pipeline.audit.released import AuditedRelease
from pipeline.errors import CollectionError
from pipeline.passes.mask_text import Rle
from pipeline.release.opened import masks_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An audit with its answers and outcomes."""

    audited: AuditedRelease
    plan: AuditPlan
    files: Mapping[str, bytes]
    """`answers/RATER.jsonl` → its content, of everybody who has answered, the adjudicator among them."""
    answers: Mapping[str, list[Answer]]
    """Rater → all answers, in their order."""
    masks: Mapping[str, Rle]
    """Key → the release's mask, of every image of the sample."""
    outcomes: list[Outcome]
    """One per image, in the order of the draw."""
    pairs: list[Pair]
    """The images that two raters have answered."""


def judge(audited: AuditedRelease, plan: AuditPlan, files: Mapping[str, bytes]) -> Judged:
    """Derive all outcomes.

    Args:   plan: follows from the release. files: `answers/RATER.jsonl` → content. A torn last line is cut off.
    Raises: CollectionError: a line is not an answer of this audit, or the release's masks can't be read.
    """
    asked = asked_by(plan, audited.rows)
    whole = {name: content[: content.rfind(b"\n") + 1] for name, content in files.items()}
    answers: dict[str, list[Answer]] = {rater: [] for rater in asked.tasks}
    for name, content in whole.items():
        rater = name.removeprefix(f"{ANSWERS}/").removesuffix(".jsonl")
        if rater not in answers or name != answers_name(rater):
            raise CollectionError(f"{name} is no file of a rater of this audit")
        answers[rater] = parse_answers(content, name, asked)
        if other := next((answer.rater for answer in answers[rater] if answer.rater != rater), None):
            raise CollectionError(f"{name} has an answer of {other}")
    masks = masks_in(audited, (image.key for image in plan.sample))
    outcomes, pairs = settle(plan, answers, masks)
    return Judged(
        audited=audited,
        plan=plan,
        files={name: content for name, content in sorted(whole.items()) if content},
        answers=answers,
        masks=masks,
        outcomes=outcomes,
        pairs=pairs,
    )


def answers_name(rater: str) -> str:
    """Name of a rater's file, relative to an audit or an annex."""
    return f"{ANSWERS}/{rater}.jsonl"


def settled_mask(judged: Judged, outcome: Outcome) -> Rle | None:
    """The mask that decided about an image: the adjudicated one, or that of the stricter of its raters.

    Returns: None if nobody drew or approved one; the release's own if it was called right.
    """
    if outcome.verdict not in ("right", "fix"):
        return None
    raters = next(image.raters for image in judged.plan.sample if image.key == outcome.key)
    deciding = (ADJUDICATOR,) if outcome.is_adjudicated else raters
    of_release = judged.masks[outcome.key]
    found = (latest(judged.answers[rater])[outcome.key].mask or of_release for rater in deciding)
    return min(found, key=lambda mask: iou_of(mask, of_release))
