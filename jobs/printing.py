"""The one way from a job to a terminal or log: what is printed shows no secret, and no terminal obeys it.

Names come from data sets that strangers made. They reach messages, tables and tracebacks, so the streams themselves
escape control characters: nothing printed by anybody in this process goes around them.
"""

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from pipeline.shown import printable


class Terminal:
    """A text stream whose reader may leave, as `head` does, or a terminal that is closed: that ends no work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or nothing if nobody reads it any more."""
        with self._readers_may_leave():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._readers_may_leave():
            self._stream.flush()

    @contextmanager
    def _readers_may_leave(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # the other end of a pipe or of a terminal is gone
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class ShownStream:
    """A text stream that escapes control characters but line breaks, and hides secrets.

    It is no terminal to those who ask, since colours are control characters; `terminal` is the stream behind it, for
    a progress bar of our own words.
    """

    def __init__(self, terminal: Any) -> None:
        self.terminal = terminal
        self._above: Callable[[str], None] | None = None
        self._begun = ""
        """The beginning of a line, while lines go above bars."""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Write the text as people may see it."""
        shown = printable(text, kept="\n")
        with self._lock:
            if self._above is None:
                self.terminal.write(shown)
            else:  # whole lines only: a bar would be drawn behind half of one
                lines, end, self._begun = (self._begun + shown).rpartition("\n")
                if end:
                    self._above(lines + end)
        return len(text)

    def write_above(self, above: Callable[[str], None] | None) -> None:
        """From now on, hand whole lines to `above`, which writes them above bars; None: there are no bars any more."""
        with self._lock:
            self._above = above
            if above is None and self._begun:
                self.terminal.write(self._begun)
                self._begun = ""

    def writelines(self, lines: Iterable[str]) -> None:
        """Write every line."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Say no, so that nobody sends colours."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)


@contextmanager
def shown_streams() -> Iterator[None]:
    """Let everything printed in this block pass through `ShownStream`."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # for streams that are None: whoever started this process closed them
        sys.stdout, sys.stderr = (ShownStream(Terminal(stream or nowhere)) for stream in before)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stdout, sys.stderr = before
