"""Stages of work: opened by the code that works, shown by what a job has put up for it.

    with stage("reading the release", total=file_bytes, unit=BYTES) as reading:
        reading.advance(len(content))

Who shows it is found through one context variable. Passed down instead, it would be a parameter of every function
between a job and the loop at its bottom. Where nothing is put up, as in tests and for users of the library, nothing is
shown. A thread begins with nothing put up; it gets the open stage from whoever starts it, and may advance it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from pipeline.progress.pace import Pace

BYTES = "bytes"
"""The unit that is shown as KB, MB and GB."""
EVERY_S = 10.0
"""Seconds between the lines of a log."""
NAMED = 5
"""Failures that are named as they happen; the others are counted."""

Item = TypeVar("Item")


class Stage:
    """A stretch of work with a name such as `reading the release`.

    Args:
        total: how much there is to do, in `unit`s; None if nobody knows.
        unit: a plural, such as `images`; `BYTES`; "" for a stage that has no parts.
        done: what earlier sessions did.
        every_s: seconds between lines in a log.
        clock: seconds; replaced in tests.
    """

    def __init__(
        self,
        name: str,
        total: float | None = None,
        unit: str = "",
        *,
        done: float = 0.0,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.total, self.unit, self.every_s = name, total, unit, every_s
        self.notes = ""
        """More words for the line, such as `71% accepted, 0 failed`."""
        self.pace = Pace(total, done, clock)
        self.earlier = done
        self.on_change: Callable[[], None] = lambda: None
        """Called after each change, from the thread that makes it."""
        self._clock, self._began, self._lock = clock, clock(), threading.Lock()

    @property
    def done(self) -> float:
        """How much is done, that of earlier sessions included."""
        return self.pace.done

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    def advance(self, by: float = 1.0, notes: str | None = None) -> None:
        """Count work that was done now; any thread may call this. Args: notes: see `note`; None: as before."""
        with self._lock:
            self.pace.reach(self.pace.done + by)
            self.notes = self.notes if notes is None else notes
        self.on_change()

    def reach(self, done: float, notes: str | None = None) -> None:
        """Say how much is done by now, for those who count themselves. Args: notes: as `advance`."""
        with self._lock:
            self.pace.reach(done)
            self.notes = self.notes if notes is None else notes
        self.on_change()

    def note(self, words: str) -> None:
        """Show more words beside the counts, in place of those before."""
        self.notes = words
        self.on_change()


class Told(str):
    """A line for people that also tells programs what has happened: logs in JSON write the event with its fields."""

    event: str
    fields: Mapping[str, str]

    def __new__(cls, line: str, event: str, fields: Mapping[str, str]) -> "Told":
        told = super().__new__(cls, line)
        told.event, told.fields = event, fields
        return told


class Display(Protocol):
    """What shows stages and lines to people."""

    def say(self, line: str) -> None:
        """Show a line that stays."""

    def open(self, stage: Stage) -> None:
        """Begin to show a stage; those that are open already go on."""

    def close(self, stage: Stage, *, is_whole: bool) -> None:
        """Stop showing a stage. Args: is_whole: it came to its end, not to an error."""


class Silent:
    """Shows nothing; fulfils `Display`."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def open(self, stage: Stage) -> None:
        """Do nothing."""

    def close(self, stage: Stage, *, is_whole: bool) -> None:
        """Do nothing."""


_display: ContextVar[Display] = ContextVar("display", default=Silent())  # noqa: B039 (it has no state)


@contextmanager
def shown_by(display: Display) -> Iterator[None]:
    """Have a display show the stages and lines of this block."""
    token = _display.set(display)
    try:
        yield
    finally:
        _display.reset(token)


def say(line: str) -> None:
    """Show a line that stays, above whatever moves."""
    _display.get().say(line)


@contextmanager
def stage(
    name: str, total: float | None = None, unit: str = "", *, done: float = 0.0, every_s: float = EVERY_S
) -> Iterator[Stage]:
    """Show a stage of work while the block runs; the arguments are those of `Stage`."""
    display, opened, is_whole = _display.get(), Stage(name, total, unit, done=done, every_s=every_s), False
    display.open(opened)
    try:
        yield opened
        is_whole = True
    finally:
        opened.on_change = lambda: None
        display.close(opened, is_whole=is_whole)


def counted(name: str, items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
    """Pass items on, and count each once its reader asks for the next."""
    with stage(name, total, unit) as opened:
        for item in items:
            yield item
            opened.advance()


class Failures:
    """Says what failed as it happens: the first few by name, then only that there are more."""

    def __init__(self, where: str) -> None:
        self._where = where
        """What has the names of all of them, such as `the manifest`."""
        self.count = 0

    def add(self, line: str, **fields: str) -> None:
        """Count a failure; say the line if it is one of the first. Args: fields: what logs in JSON tell of it."""
        self.count += 1
        if self.count <= NAMED:
            say(Told(line, "image_failed", fields))
        elif self.count == NAMED + 1:
            say(f"more have failed; from here on they are counted, and {self._where} has all of them")
