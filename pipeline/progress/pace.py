"""How fast work goes and how long the rest will take, from the moments at which some of it was done."""

import math
import time
from collections.abc import Callable

SAME_BATCH_S = 0.25
"""What is done within so short a time came together, even if it is counted one by one."""
_MEMORY_S = 60.0
"""Earlier seconds count less: those of a minute ago by 1/e, or of a quarter of the time so far if that is longer."""


class Pace:
    """The pace of work that is done in batches, and the time left.

    What comes before the first batch is no pace: a model is loaded then, for example. Between two batches the time left
    runs down like a clock, for as long as a batch usually takes; then it stands still until the batch is there. So it
    never rises between batches, and no batch raises it that is as fast as those before.

    Args:
        total: all the work; None if nobody knows.
        done: what was done before, in another session, for example; it has no part in the pace.
        clock: seconds; replaced in tests.
    """

    def __init__(self, total: float | None, done: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.done = done
        self._clock = clock
        self._first = self._last = math.nan
        self._seconds = self._units = self._batches = 0.0

    def reach(self, done: float) -> None:
        """Note how much is done by now. It may be less than before: a replica dies with images that it has in hand."""
        now, gained, self.done = self._clock(), done - self.done, done
        if gained <= 0:
            return
        if math.isnan(self._first):
            self._first = now
        if now - self._first >= SAME_BATCH_S:  # else this belongs to the first batch, and how long that took is unknown
            gap_s = now - self._last
            kept = math.exp(-gap_s / max(_MEMORY_S, (now - self._first) / 4))
            self._seconds = self._seconds * kept + gap_s
            self._units = self._units * kept + gained
            self._batches = self._batches * kept + (gap_s >= SAME_BATCH_S)
        self._last = now

    def per_s(self) -> float | None:
        """Work per second; None before the second batch."""
        return self._units / self._seconds if self._seconds > 0 else None

    def left_s(self) -> float | None:
        """Seconds until all is done, at least 0; None before the second batch, or if nobody knows the total."""
        if self.total is None or self._seconds <= 0:
            return None
        at_last = (self.total - self.done) * self._seconds / self._units
        since_s = min(self._clock() - self._last, self._seconds / (self._batches or 1.0))
        return max(0.0, at_last - since_s)
