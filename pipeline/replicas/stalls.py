"""Finds replicas that are alive but do nothing: no image finished for too long."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

Work = TypeVar("Work", bound=Hashable)


class StallWatch(Generic[Work]):
    """Compares the progress of each piece of work with its earlier progress.

    Args:
        after_s: seconds that a piece of work may stand still.
        clock: seconds; replaced in tests.
    """

    def __init__(self, after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._after_s = after_s
        self._clock = clock
        self._seen: dict[Work, tuple[int, float]] = {}

    def stalled(self, finished: Mapping[Work, int | None]) -> list[Work]:
        """Work that has stood still too long. Each is named once, and then has the same time again.

        Args: finished: work → images finished; None: no answer, which counts as no progress.
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
