"""Lets an operator see work on shards: keeps its state, and writes it into the run every few seconds.

RUN/live/index.html       a page, for any browser, from a folder or a bucket
RUN/live/status.json      the same for programs
RUN/live/session-….jsonl  what happened, see `post_mortem.py`

Nothing here can hold up the work or end it: events are folded in microseconds, files are written by a thread of its
own, one write at a time, and one that fails is logged once. No file here counts: neither a check nor a release reads
them.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.files import patience, storage
from pipeline.files.tars import encode_json
from pipeline.replicas.events import Event, ShardCommitted, Watch, WorkEnded
from pipeline.runs.holder import myself
from pipeline.selection.policy import PolicyConfig
from pipeline.shown import printable, shown
from pipeline.watching.files import FOLDER, PAGE, POST_MORTEM, STATUS
from pipeline.watching.live_page import live_page
from pipeline.watching.pictures import Newest
from pipeline.watching.post_mortem import PostMortem
from pipeline.watching.state import State
from pipeline.watching.summary import Incident, Summary, document
from pipeline.watching.words import kind_of

log = logging.getLogger(__name__)
happened = logging.getLogger("pipeline.happened")
"""What happened, with its fields, for logs that programs read: who dispatches has told people in their own words."""
if happened.level == logging.NOTSET:  # else a log that programs read has asked for it
    happened.setLevel(logging.WARNING)

REPORT_S = 5.0
"""Seconds between two reports of metrics."""
SOON_S = 2.0
"""A grave incident is written this soon, however long the next write is off."""
LAST_WRITE_S = 20.0
"""Longest wait for the last write; storage that is away then must not hold the job."""
PICTURES_S = 30.0
"""Seconds between two looks at the newest masks."""
LOGGED_GRAVE, LOGGED_OTHERS = 1000, 200
"""Incidents that get a line in a log, grave ones and others; the rest is in the post-mortem only."""
_LAST = kind_of(WorkEnded(reason=""))
"""The kind of incident that is logged however many came before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What is done with the state of a session, and how often."""

    every_s: float = 15.0
    """Seconds between two writes of page, status and post-mortem; 0: none are written."""
    policy: PolicyConfig | None = None
    """Decides what is shown as accepted; None: nothing is, for images are only scored."""
    report: Callable[[Summary], None] | None = None
    """Takes each summary, for metrics."""

    @property
    def is_pass(self) -> bool:
        """Is it the work of a score pass? A run always has a policy."""
        return self.policy is None


@contextmanager
def watched(folder: str, watching: Watching, clock: Callable[[], float] = time.time) -> Iterator[Watch]:
    """Watch the work of the block, whose events are to be told to what this gives.

    Args: folder: of a run, or of a score pass. clock: seconds since 1970; replaced in tests.
    """
    watcher = Watcher(folder, watching, clock)
    watcher.start()
    try:
        yield watcher
    except BaseException as error:
        watcher.end(printable(" ".join(str(error).split())) or type(error).__name__)
        raise
    watcher.end("")


class Watcher:
    """Takes events, and shows what they come to."""

    def __init__(self, folder: str, watching: Watching, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._watching, self._clock = folder, watching, clock
        began_s = clock()
        started = datetime.fromtimestamp(began_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        session = f"{POST_MORTEM}{started}-{uuid.uuid4().hex[:4]}"
        self._post_mortem_name = f"{session}.jsonl"
        me = myself(session)
        self._who = {"session": session, "host": me.host, "pid": me.pid, "started": me.started}
        self._lock, self._wake, self._ended = threading.Lock(), threading.Event(), threading.Event()
        self._post_mortem = PostMortem(began_s)
        self._state = State(began_s, self._on_incident)
        self._newest = Newest(folder, watching.policy)
        self._newest_shard = self._looked_at = ""
        self._pictured_s = -PICTURES_S
        self._logged = {True: 0, False: 0}
        self._is_over = False
        self._failed = set[str]()
        self._thread = threading.Thread(target=self._keep_showing, name="live page", daemon=True)

    def __call__(self, event: Event) -> None:
        """Take an event: what the dispatcher calls."""
        with self._lock:
            if isinstance(event, ShardCommitted):
                self._newest_shard = event.shard
            self._is_over |= isinstance(event, WorkEnded)
            self._state(event)

    def start(self) -> None:
        """Begin to show."""
        if self._watching.every_s:
            page, run = storage.join(self._folder, FOLDER, PAGE), self._folder
            if self._watching.is_pass:  # it lies in RUN/passes/NAME, and the status of the run tells of it
                run = run.rpartition("/passes/")[0] or run
            log.info("watch it: %s, or sod status %s", printable(shown(page)), printable(shown(run)))
        if self._watching.every_s or self._watching.report:
            self._thread.start()

    def end(self, reason: str) -> None:
        """Show how it ended, and stop. Args: reason: why, if nobody has told it by an event; "": all is done."""
        if not self._is_over:
            self(WorkEnded(at_s=self._clock(), reason=reason))
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(LAST_WRITE_S)

    def summary(self) -> Summary:
        """The state at this moment."""
        with self._lock:
            return self._state.summary(self._clock())

    def write(self) -> None:
        """Write post-mortem, status and page, whichever can be written; storage that is away is not waited for."""
        with patience.none_here():
            self._write()

    def _write(self) -> None:
        with self._lock:
            summary = self._state.summary(self._clock())
            post_mortem = self._post_mortem.content(summary)
        every_s = self._watching.every_s
        with self._quietly("the post-mortem can't be written"):
            self._publish(self._post_mortem_name, post_mortem)
        with self._quietly("the status can't be written"):
            self._publish(STATUS, encode_json(document(summary) | self._who | {"every_s": every_s}))
        with self._quietly("the newest masks can't be shown"):
            self._look_at_masks()
        with self._quietly("the live page can't be written"):
            page = live_page(
                summary, self._folder, every_s, self._newest.pictures(), may_release=not self._watching.is_pass
            )
            self._publish(PAGE, page)

    @contextmanager
    def _quietly(self, what: str) -> Iterator[None]:
        """Nobody's work may end because it can't be shown: what fails is logged once."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (see above)
            if what not in self._failed:
                self._failed.add(what)
                log.warning("%s (%s: %s); the work goes on", what, self._folder, error)

    def _keep_showing(self) -> None:
        every_s, report = self._watching.every_s, self._watching.report
        step_s = min(every_s or REPORT_S, REPORT_S if report else every_s)
        written_s = time.monotonic()
        if every_s:
            self.write()
        while not self._ended.is_set():
            if self._wake.wait(step_s):
                self._wake.clear()
                self._ended.wait(SOON_S)  # what happens at the same time is written with it
                written_s -= every_s
            if report:
                self._report(report)
            if every_s and time.monotonic() - written_s >= every_s and not self._ended.is_set():
                written_s = time.monotonic()
                self.write()
        if report:
            self._report(report)
        if every_s:
            self.write()

    def _report(self, report: Callable[[Summary], None]) -> None:
        with self._quietly("metrics can't be reported"):
            report(self.summary())

    def _look_at_masks(self) -> None:
        shard, now_s = self._newest_shard, time.monotonic()
        if shard and shard != self._looked_at and (now_s - self._pictured_s >= PICTURES_S or self._ended.is_set()):
            self._looked_at, self._pictured_s = shard, now_s
            self._newest.look(shard)

    def _publish(self, name: str, content: bytes) -> None:
        storage.publish(storage.join(self._folder, FOLDER, name), content)

    def _on_incident(self, found: Incident) -> None:
        self._post_mortem.add(found)
        self._logged[found.grave] += 1
        number, most = self._logged[found.grave], LOGGED_GRAVE if found.grave else LOGGED_OTHERS
        if number <= most or found.kind == _LAST:
            happened.info("%s", found.words, extra={"event": found.kind, "fields": dict(found.values)})
        elif number == most + 1:
            what = "trouble" if found.grave else "that is no trouble"
            name = storage.join(self._folder, FOLDER, self._post_mortem_name)
            happened.info("more %s is not logged; %s has the newest", what, name)
        if found.grave:
            self._wake.set()
