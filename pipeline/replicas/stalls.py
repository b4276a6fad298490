"""Replicas that live and do nothing: no image finished for too long."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

Work = TypeVar("Work", bound=Hashable)


class StallWatch(Generic[Work]):
    """Compares how far each piece of work is with how far it was.

    Args:
        after_s: how long a piece of work may stand still.
        clock: seconds; replaced in tests.
    """

    def __init__(self, after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._after_s = after_s
        self._clock = clock
        self._seen: dict[Work, tuple[int, float]] = {}

    def stalled(self, finished: Mapping[Work, int | None]) -> list[Work]:
        """Which of the work in progress has stood still too long; each is named once, then it has as long again.

        Args: finished: work → images finished; None where nobody answers, which is no progress.
        """
        now = self._clock()
        found = []
        seen: dict[Work, tuple[int, float]] = {}
        for work, count in finished.items():
            before, since = self._seen.get(work, (-1, now))
            present = before if count is None else count
            if present != before or work not in self._seen:
                since = now
            if now - since >= self._after_s:
                found.append(work)
                since = now
            seen[work] = (present, since)
        self._seen = seen
        return found
