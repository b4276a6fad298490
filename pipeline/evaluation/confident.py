"""Which images a policy accepts though they are wrong, and how many of them a score would have caught. Pure.

Of the images that the policy accepts, the fifth with the lowest IoU (rounded down) is confidently wrong; the
others are good. A bound on a score catches the wrong ones that it drops, and loses the good ones that it drops. What
counts is how many it catches while it loses at most a given share of the good ones.

The bound is chosen on the images that it is judged by. It is one number and no fit, but with few images each of them
weighs much: with 30 accepted images, one more caught is 17 points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pipeline.evaluation.measures import ImageMeasures
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.verdicts import by_scores

LOST_SHARES = {"lost_5_percent": 0.05, "lost_10_percent": 0.1}
"""Name of a figure → the largest share of the good images that may be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidentlyWrong:
    """Which of N images are accepted, and which of these are wrong; at least one is, and one is good."""

    wrong: Bool[np.ndarray, " n"]
    good: Bool[np.ndarray, " n"]
    highest_iou: float
    """Of the wrong ones."""

    def caught(self, badness: Float[np.ndarray, " n"]) -> dict[str, int]:
        """Name of a figure → how many of the wrong images the best bound drops.

        Args: badness: of each image; equal ones can't be separated.
        """
        of_good = np.sort(badness[self.good])[::-1]
        dropped = {}
        for name, share in LOST_SHARES.items():
            most_lost = int(share * len(of_good) + 1e-9)
            # The next good image has to stay, and with it whatever is no worse.
            dropped[name] = int(np.count_nonzero(badness[self.wrong] > of_good[most_lost]))
        return dropped


def confidently_wrong(
    scores: Sequence[Mapping[str, float | None]],
    measures: Sequence[ImageMeasures],
    policy: PolicyConfig | None = None,
) -> ConfidentlyWrong | None:
    """Find the worst fifth of what a policy accepts; None if it accepts fewer than five, or IoU is unknown.

    Of two images with one IoU at the border of the fifth, the earlier is wrong.

    Args: policy: by default, the one with nothing given.
    """
    policy = policy or PolicyConfig()
    ious = [measure.iou for measure in measures]
    accepted = [place for place, row in enumerate(scores) if by_scores(row, policy).decision == "accepted"]
    by_iou = sorted((iou, place) for place in accepted if (iou := ious[place]) is not None)
    count = len(accepted) // 5
    if not count or len(by_iou) < len(accepted):
        return None
    wrong, good = np.zeros(len(ious), dtype=np.bool_), np.zeros(len(ious), dtype=np.bool_)
    wrong[[place for _, place in by_iou[:count]]] = True
    good[[place for _, place in by_iou[count:]]] = True
    return ConfidentlyWrong(wrong=wrong, good=good, highest_iou=by_iou[count - 1][0])
