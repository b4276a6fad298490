"""How much work a file may ask of a decoder. Counted, never timed: an image gets the same row on every machine."""

MOST_PARTS = 100_000
"""Segments, chunks, blocks, strips, or tiles of a file. Decoders handle them one by one, in Python, for up to 20
microseconds each. The largest file, 64 MiB, has about 8,000 of them as libraries write it."""


class OverBudgetError(Exception):
    """A decoder would take more time or memory than the image's pixels justify.

    Args:
        reason: a reason of `FAILURE_REASONS`.
        found: what was found, and the limit.
    """

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(f"{reason}: {found}")
        self.reason = reason
        self.found = found


def require_few_parts(count: int, parts: str) -> None:
    """Refuse more than `MOST_PARTS`.

    Raises: OverBudgetError: `too_slow`.
    """
    if count > MOST_PARTS:
        raise OverBudgetError("too_slow", f"more than {MOST_PARTS} {parts}")
