"""Counts of a run or score pass while it works, and what is shown of them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from pipeline.errors import ReleaseNotMadeError, Stopped, UsageError
from pipeline.progress.stages import Failures, Stage, stage
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
        self._failures = Failures("the manifest" if policy else "the score pass")
        self._clock = clock
        self._started = clock()

    def add_earlier(self, images: int) -> None:
        """Count images in shards that earlier sessions committed."""
        self._earlier += images

    @property
    def settled(self) -> int:
        """Images in committed shards."""
        return self.decisions.total() + self._earlier

    def add_computed(
        self, rows: Sequence[CandidateRow | PassRow], computed: int | None = None, seconds: float = 0.0
    ) -> Counter[str]:
        """Count the rows of a shard that was committed now, and name the first images that failed.

        Args:
            computed: how many of them were computed in this session; None: all.
            seconds: what the shard took.

        Returns: images by outcome.
        """
        self.computed += len(rows) if computed is None else computed
        self.last_s = seconds
        self.fewer_at_once += sum(isinstance(row, CandidateRow) and row.fewer_at_once > 0 for row in rows)
        outcomes = Counter(map(self._outcome, rows))
        self.decisions += outcomes
        for row in rows:
            if row.status == "failed":
                line = f"{row.key} failed: {row.reason}: {row.detail}"
                self._failures.add(line, key=row.key, reason=row.reason, detail=row.detail)
        return outcomes

    def _outcome(self, row: CandidateRow | PassRow) -> str:
        if isinstance(row, CandidateRow) and self.policy is not None:
            return decide(row, self.policy).decision
        return "failed" if row.status == "failed" else "done"

    def images_per_s(self) -> float:
        """Images computed per second in this session."""
        elapsed_s = self._clock() - self._started
        return self.computed / elapsed_s if elapsed_s > 0 else 0.0

    def stopped(self) -> Stopped:
        """The exception for a run that was asked to stop."""
        return Stopped(
            f"asked to stop with {self.settled} of {self.images} images committed. "
            "Run the same command again to resume."
        )

    def kept(self) -> str:
        """What stays if this session ends now; "" if nothing is committed."""
        return f"{self.settled} of {self.images} images are committed and stay" if self.settled else ""

    def shown(self, every_s: float) -> AbstractContextManager[Stage]:
        """The stage of this work. Args: every_s: seconds between lines in a log."""
        doing = "labelling" if self.policy else "scoring"
        return stage(doing, self.images, "images", done=self.settled, every_s=every_s)

    def show(self, shown: Stage, in_flight: int = 0, each_per_s: Sequence[float] = ()) -> None:
        """Show counts in a stage, such as `71% accepted, 0 failed; 2 replicas, 1.4 to 1.5 images/s each`.

        Accepted and failed count this session only.

        Args:
            in_flight: images that replicas have finished in shards that are not yet committed.
            each_per_s: images per second of each replica.
        """
        notes = "; ".join(filter(None, (self._decided(), _replicas(each_per_s), self._short())))
        shown.reach(min(self.images, self.settled + in_flight), notes)

    def _decided(self) -> str:
        failed = f"{self.decisions['failed']} failed"
        judged = self.decisions["accepted"] + self.decisions["rejected"]
        if self.policy is None or not judged:
            return failed
        return f"{self.decisions['accepted'] / judged:.0%} accepted, {failed}"

    def _short(self) -> str:
        return f"memory ran short at {self.fewer_at_once}" if self.fewer_at_once else ""


def _replicas(each_per_s: Sequence[float]) -> str:
    if not each_per_s:
        return ""
    slowest, fastest = min(each_per_s), max(each_per_s)
    if len(each_per_s) == 1:
        return f"1 replica, {fastest:.2f} images/s"
    return f"{len(each_per_s)} replicas, {slowest:.2f} to {fastest:.2f} images/s each"
