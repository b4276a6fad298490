"""The one way from a job to a terminal or log: what is printed shows no secret, and no terminal obeys it.

Names come from data sets that strangers made. They reach messages, tables and tracebacks, so the streams themselves
escape control characters: nothing printed by anybody in this process goes around them.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from pipeline.shown import printable


class ShownStream:
    """A text stream that escapes control characters but line breaks, and hides secrets.

    It is no terminal to those who ask, since colours are control characters; `terminal` is the stream behind it, for
    a progress bar of our own words.
    """

    def __init__(self, terminal: TextIO) -> None:
        self.terminal = terminal

    def write(self, text: str) -> int:
        """Write the text as people may see it."""
        with self._readers_may_leave():
            self.terminal.write(printable(text, kept="\n"))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._readers_may_leave():
            self.terminal.flush()

    @contextmanager
    def _readers_may_leave(self) -> Iterator[None]:
        """Go on in silence when the reader has gone, as `head` does: that ends no work."""
        try:
            yield
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.terminal.fileno())

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
    sys.stdout, sys.stderr = ShownStream(before[0]), ShownStream(before[1])
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before
