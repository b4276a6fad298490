"""Counts of a run while it works, and the line that shows them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pipeline.errors import ReleaseNotMadeError, Stopped, UsageError
from pipeline.records import CandidateRow, PassRow
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.verdicts import decide


@contextmanager
def working(progress: "Progress") -> Iterator[None]:
    """A block that works: once it has computed something, a wrong request is no longer one of which nothing was begun.

    Raises: ReleaseNotMadeError: a UsageError came after that.
    """
    try:
        yield
    except UsageError as error:
        if progress.computed:
            done = f"{progress.settled} of {progress.images} images are committed and stay"
            raise ReleaseNotMadeError(f"{error}. {done}") from error
        raise


class Progress:
    """How many of `images` are done. Rates and decisions count this session, the share done counts the whole run.

    Args:
        images: input images of the run.
        policy: decides what is shown as accepted; None: nothing is, for images are only scored.
        clock: seconds; replaced in tests.
    """

    def __init__(self, images: int, policy: PolicyConfig | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.images = images
        self.policy = policy
        self.decisions: Counter[str] = Counter()
        """In this session."""
        self._earlier = 0
        self.computed = self.fewer_at_once = 0
        self.last_s = 0.0
        """Seconds that a replica took for the last shard added."""
        self._clock = clock
        self._started = self._last_line = clock()

    def add_earlier(self, images: int) -> None:
        """Count images in shards that earlier sessions committed."""
        self._earlier += images

    @property
    def settled(self) -> int:
        """Images in committed shards."""
        return self.decisions.total() + self._earlier

    def add_computed(
        self, rows: Sequence[CandidateRow | PassRow], computed: int | None = None, seconds: float = 0.0
    ) -> None:
        """Count the rows of a shard that was committed now.

        Args:
            computed: how many of them were computed in this session; None: all.
            seconds: what the shard took.
        """
        self.computed += len(rows) if computed is None else computed
        self.last_s = seconds
        self.fewer_at_once += sum(isinstance(row, CandidateRow) and row.fewer_at_once > 0 for row in rows)
        self.decisions.update(map(self._outcome, rows))

    def _outcome(self, row: CandidateRow | PassRow) -> str:
        if isinstance(row, CandidateRow) and self.policy is not None:
            return decide(row, self.policy).decision
        return "failed" if row.status == "failed" else "done"

    def images_per_s(self, in_flight: int = 0) -> float:
        """Images computed per second in this session, including those in unfinished shards."""
        elapsed_s = self._clock() - self._started
        return (self.computed + in_flight) / elapsed_s if elapsed_s > 0 else 0.0

    def is_due(self, every_s: float) -> bool:
        """Whether it is time for the next line: True once per `every_s` seconds."""
        due = self._clock() - self._last_line >= every_s
        if due:
            self._last_line = self._clock()
        return due

    def stopped(self) -> Stopped:
        """The exception for a run that was asked to stop."""
        return Stopped(
            f"asked to stop with {self.settled} of {self.images} images committed. "
            "Run the same command again to resume."
        )

    def line(self, in_flight: int = 0) -> str:
        """For example: `24/37 images, 2.9 images/s, 71% accepted, 0 failed, 0:04 left`. Accepted and failed count this
        session only.

        Args: in_flight: images that replicas have finished in shards that are not yet committed.
        """
        done = self.settled + in_flight
        rate = self.images_per_s(in_flight)
        left = _minutes((self.images - done) / rate) if rate else "?"
        judged = self.decisions["accepted"] + self.decisions["rejected"]
        accepted = f"{self.decisions['accepted'] / judged:.0%}" if judged else "?"
        failed = self.decisions["failed"]
        short = f", memory ran short at {self.fewer_at_once}" if self.fewer_at_once else ""
        shown = f" {accepted} accepted," if self.policy else ""
        counts = f"{done}/{self.images} images, {rate:.1f} images/s,{shown} {failed} failed"
        return f"{counts}, {left} left{short}"


def _minutes(seconds: float) -> str:
    hours, rest = divmod(round(max(0.0, seconds)), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
