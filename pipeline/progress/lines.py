"""Progress in a log: a line when a stage begins, one every so often, and one when a long stage has ended."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from pipeline.progress.stages import Stage
from pipeline.progress.words import line, summary, title

LONG_S = 2.0
"""A stage that takes less is not worth a last line."""
_BEAT_S = 1.0
_SETTLED_S, _SETTLED_EVERY_S = 600.0, 60.0
"""After ten minutes nobody watches a log: one line per minute is enough, and ten hours are 600 lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What lines say of a stage."""

    title: Callable[[Stage], str] = title
    """When it begins."""
    line: Callable[[Stage], str] = line
    """While it goes on."""
    summary: Callable[[Stage], str] = summary
    """When it has ended, if it took long."""


class LogLines:
    """Writes lines; fulfils `Display`. Use as a context manager.

    A thread sees to it that a stage which says nothing for long, such as the loading of a model, still has its lines.

    Args:
        write: writes a line about a stage.
        say: writes a line that somebody says.
        clock: seconds; replaced in tests, which call `beat` themselves.
        words: what the lines say.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        words: Words = Words(),
    ) -> None:
        self._write, self._say, self._clock, self._words = write, say, clock, words
        self._stages: list[Stage] = []
        self._last_s = clock()
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def say(self, line: str) -> None:
        """Write a line."""
        self._say(line)

    def open(self, stage: Stage) -> None:
        """Write what begins."""
        with self._lock:
            self._stages.append(stage)
            stage.on_change = self.beat
            self._write(self._words.title(stage))
            self._last_s = self._clock()
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_beating, name="progress", daemon=True)
                self._thread.start()

    def close(self, stage: Stage, *, is_whole: bool) -> None:
        """Write how long it took, if that was long."""
        with self._lock:
            self._stages.remove(stage)
            if is_whole and stage.elapsed_s >= LONG_S:
                self._write(self._words.summary(stage))
                self._last_s = self._clock()

    def beat(self) -> None:
        """Write how far the innermost stage is, if a line is due."""
        with self._lock:
            if not self._stages:
                return
            stage, now = self._stages[-1], self._clock()
            settled = stage.elapsed_s >= _SETTLED_S
            if now - self._last_s >= max(stage.every_s, _SETTLED_EVERY_S if settled else 0.0):
                self._last_s = now
                self._write(self._words.line(stage))

    def _keep_beating(self) -> None:
        while not self._ended.wait(_BEAT_S):
            self.beat()
