"""Rounds of ensemble members, after each of which an image can stop; no torch.

`pipeline/selection/stopping_rule.py` decides whether an image has enough members, by its own members alone.
"""

FIRST_ROUND = 3
"""The fewest members for which each one says something about the spread of the others."""
LATER_ROUNDS = 2
"""Members per round after the first: few, so that an image stops soon after it has enough."""


def rounds(ensemble_size: int) -> list[range]:
    """Member numbers of each round: 3 members, then 2 at a time; a single leftover member joins the last round."""
    starts = [0, *range(FIRST_ROUND, ensemble_size - 1, LATER_ROUNDS)]
    return [range(first, end) for first, end in zip(starts, [*starts[1:], ensemble_size], strict=True)]


def variance_scale(members: int, ensemble_size: int) -> float:
    """Factor that makes the population variance over some members equal, on average, to that over the whole ensemble.

    The fewer members, the closer they lie to their own mean, so an image that stops early would look surer than it is.
    The factor is 1 for a whole ensemble, and for a single member, which has no variance.
    """
    if members in (1, ensemble_size):
        return 1.0
    return members / (members - 1) * (ensemble_size - 1) / ensemble_size
