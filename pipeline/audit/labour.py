"""Who has judged, from where the answers come, and how long it took. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.audit.answers import Answer, latest


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one rater, or the adjudicator, has done."""

    rater: str
    images: int
    """Images answered; of several answers to one image, the last counts."""
    seconds: float
    """Of all answers, those that do not count too."""
    untimed: int
    """Images whose answer came without its time."""
    sources: Mapping[str, int]
    """Where the answers that count come from: `page`, or what they were imported from → images."""


def work_of(answers: Mapping[str, Sequence[Answer]]) -> list[Work]:
    """Sum up the work of everybody who has answered.

    Args: answers: rater, the adjudicator among them → all answers in their order.
    """
    found = []
    for rater, given in sorted(answers.items()):
        counted = latest(list(given)).values()
        if counted:
            found.append(
                Work(
                    rater=rater,
                    images=len(counted),
                    seconds=sum(answer.seconds for answer in given),
                    untimed=sum(not answer.seconds for answer in counted),
                    sources=dict(sorted(Counter(answer.source for answer in counted).items())),
                )
            )
    return found
