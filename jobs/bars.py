"""Progress of a job: live bars at the bottom of a terminal, lines in a log."""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from jobs.printing import ShownStream
from pipeline.progress.lines import LONG_S, LogLines
from pipeline.progress.stages import Stage, shown_by
from pipeline.progress.words import facts, summary
from pipeline.shown import printable

log = logging.getLogger(__name__)

_LONGEST_BAR, _SHORTEST_BAR = 30, 8
"""Columns."""
_PER_S = 4.0
"""Redrawings per second."""


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show the stages of this block on stderr: as bars if that is a terminal, else as lines of the log.

    Whatever ends the block, the terminal has its cursor again and no bar.
    """
    terminal = getattr(sys.stderr, "terminal", sys.stderr)
    if terminal.isatty() and os.environ.get("TERM") != "dumb":
        streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, ShownStream)]
        console = Console(file=terminal)
        with Bars(console, [stream for stream in streams if stream.terminal.isatty()]) as bars, shown_by(bars):
            yield
    else:
        with LogLines(lambda line: log.info("%s", line), _print_line) as lines, shown_by(lines):
            yield


def _print_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Bars:
    """Bars of the open stages at the bottom of a terminal; fulfils `Display`. Use as a context manager.

    They are gone once no stage is open; a stage that took long leaves a line.

    Args:
        console: writes to the terminal itself, since bars move its cursor.
        streams: what else is written to this terminal; while there are bars, their lines go above them.
    """

    def __init__(self, console: Console, streams: Sequence[ShownStream] = ()) -> None:
        self._console, self._streams = console, streams
        self._stages: list[Stage] = []
        self._live: Live | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        if self._console.is_terminal:
            self._console.show_cursor(True)  # an interrupt may have come between any two lines

    def say(self, line: str) -> None:
        """Print a line, above the bars if there are any."""
        self._print(f"{printable(line)}\n")

    def open(self, stage: Stage) -> None:
        """Add a bar."""
        with self._lock:
            self._stages.append(stage)
            if self._live is None:
                for stream in self._streams:
                    stream.write_above(self._print)
                self._live = Live(
                    get_renderable=self._drawn, console=self._console, refresh_per_second=_PER_S, transient=True,
                    redirect_stdout=False, redirect_stderr=False,
                )  # fmt: skip
                self._live.start()
            else:
                self._live.refresh()

    def close(self, stage: Stage, *, is_whole: bool) -> None:
        """Remove a bar; leave a line if it took long and came to its end."""
        with self._lock:
            self._stages.remove(stage)
            if not self._stages:
                self._stop()
            if is_whole and stage.elapsed_s >= LONG_S:
                self.say(summary(stage))

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
        for stream in self._streams:
            stream.write_above(None)

    def _print(self, text: str) -> None:
        self._console.print(Text(text), end="", soft_wrap=True)

    def _drawn(self) -> RenderableType:
        return Group(*(part for stage in list(self._stages) for part in _rows(stage, self._console.width)))


def _rows(stage: Stage, width: int) -> Iterator[RenderableType]:
    """One line with name, bar and counts, and one with the notes, if there are any."""
    name, counts = printable(stage.name), "  ".join(facts(stage))
    room = min(_LONGEST_BAR, width - len(name) - len(counts) - 3)
    row: list[RenderableType] = [Text(name, no_wrap=True, overflow="ellipsis")]
    if stage.total is None:
        row.append(Spinner("line"))
    elif room >= _SHORTEST_BAR:
        row.append(ProgressBar(total=max(stage.total, 1e-9), completed=stage.done, width=room))
    table = Table.grid(padding=(0, 1))
    table.add_row(*row, Text(counts, no_wrap=True, overflow="ellipsis"))
    yield table
    if stage.notes:
        yield Text(f"  {printable(stage.notes)}", style="dim", no_wrap=True, overflow="ellipsis")
