"""Members in rounds, so that an image can stop when it has enough of them; no torch.

Whether they are enough is decided elsewhere (`pipeline/selection/stopping_rule.py`), by the members of the image alone.
"""

FIRST_ROUND = 3
"""The fewest members of which each says something about the spread of the others."""
LATER_ROUNDS = 2
"""Members of each round after the first: few, so that an image stops soon after it has enough."""


def rounds(ensemble_size: int) -> list[range]:
    """The members of each round: 3, then 2 at a time; a single one that is left over joins the last round."""
    starts = [0, *range(FIRST_ROUND, ensemble_size - 1, LATER_ROUNDS)]
    return [range(first, end) for first, end in zip(starts, [*starts[1:], ensemble_size], strict=True)]


def variance_scale(members: int, ensemble_size: int) -> float:
    """What the population variance over some members is multiplied by to be, on average, that of the whole ensemble.

    The fewer members, the closer they lie to a mean of their own: an image that stops early would look surer than it
    is. 1 for a whole ensemble, and for a single member, which has no variance.
    """
    if members in (1, ensemble_size):
        return 1.0
    return members / (members - 1) * (ensemble_size - 1) / ensemble_size
