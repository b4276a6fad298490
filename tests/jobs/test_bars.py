"""Bars at the bottom of a terminal: lines go above them whole, and whatever ends a job, they leave nothing behind."""

import io
import logging
import re
import sys
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jobs.bars import Bars, shown_progress
from jobs.printing import ShownStream, shown_streams
from pipeline.progress.stages import BYTES, Stage, say, shown_by, stage
from tests.pipeline.progress.make import Clock
from tests.pipeline.test_shown import CONTROLS

_PARTS = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+")


class Terminal(io.StringIO):
    """A stream that claims to be a terminal of 80 columns."""

    def isatty(self):
        return True

    def screen(self):
        """What people see, line by line: the codes that rich sends are obeyed, and others are a failure."""
        lines, row, column = [""], 0, 0
        for part in _PARTS.finditer(self.getvalue()):
            text, (count, code) = part[0], part.groups()
            if code is None and text == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
                column = 0
            elif text == "\r":
                column = 0
            elif code == "A":
                row -= int(count or 1)
            elif code == "K":
                lines[row] = ""
            elif code is None:
                lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
                column += len(text)
            else:
                assert code in "mhl", text
        return [line.rstrip() for line in lines if line.strip()]

    @property
    def has_cursor(self):
        return self.getvalue().rfind("\x1b[?25h") >= self.getvalue().rfind("\x1b[?25l")


@pytest.fixture
def terminal(monkeypatch):
    """A terminal on which bars can move."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


@contextmanager
def job_on(terminal):
    """Stdout and stderr are this terminal, behind the streams of a job, as `run_job` has it."""
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = terminal
    try:
        with shown_streams(), shown_progress():
            yield
    finally:
        sys.stdout, sys.stderr = before


def test_lines_of_everybody_go_above_the_bars(terminal):
    log = logging.getLogger("test_bars")
    with job_on(terminal), stage("labelling", 4, "images") as labelling:
        log.addHandler(handler := logging.StreamHandler(sys.stderr))
        say("first")
        print("second", end=" ")
        print("half")
        log.warning("third")
        labelling.advance()
        labelling.note("100% accepted")
        say("fourth")
        with stage("decoding"):
            lines = terminal.screen()
        log.removeHandler(handler)
    assert lines[:4] == ["first", "second half", "third", "fourth"]
    assert re.fullmatch(r"labelling .* 1 of 4 images", lines[4])
    assert lines[5] == "  100% accepted"
    assert lines[6].startswith("decoding ")
    assert terminal.screen() == ["first", "second half", "third", "fourth"]
    assert terminal.has_cursor


def test_the_beginning_of_a_line_waits_for_its_end_and_is_never_lost(terminal):
    with job_on(terminal):
        with stage("reading"):
            print("no end", end="", flush=True)
            assert "no end" not in terminal.getvalue()
        print()
    assert terminal.screen() == ["no end"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_whatever_ends_a_job_the_terminal_is_as_it_was(terminal, error):
    had_cursor = []

    def work():
        with job_on(terminal), stage("labelling", 4, "images"):
            had_cursor.append(terminal.has_cursor)
            raise error

    with pytest.raises(error):
        work()
    assert had_cursor == [False]
    assert terminal.has_cursor
    assert terminal.screen() == []


def test_a_stage_that_took_long_leaves_a_line_and_a_quick_one_none(monkeypatch):
    terminal, clock = Terminal(), Clock()
    with Bars(Console(file=terminal, force_terminal=True)) as bars:
        for seconds in (1.0, 5.0):
            shown = Stage(f"reading for {seconds} s", clock=clock)
            bars.open(shown)
            clock.now_s += seconds
            bars.close(shown, is_whole=True)
    assert terminal.screen() == ["reading for 5.0 s: 0:05"]


def test_a_stage_that_nobody_has_closed_ends_with_the_job(terminal):
    with Bars(Console(file=terminal, force_terminal=True)) as bars:
        bars.open(Stage("training"))
        bars.open(Stage("validating"))  # draws both
        assert len(terminal.screen()) == 2
    assert terminal.screen() == []
    assert terminal.has_cursor


TEXTS = st.lists(st.sampled_from([*CONTROLS, "a", "é", " ", "[b]"]), max_size=120).map("".join)


@given(TEXTS, TEXTS, st.integers(20, 120), st.sampled_from(["", "images", BYTES]), st.floats(0, 1e12))
def test_a_bar_fits_its_terminal_and_obeys_no_name(name, notes, width, unit, total):
    terminal = io.StringIO()
    console = Console(file=terminal, width=width, height=100, force_terminal=False, color_system=None)
    bars, shown = Bars(console), Stage(name, total if unit else None, unit)
    shown.note(notes)
    bars._stages.append(shown)
    console.print(bars._drawn())
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 2
    assert {*terminal.getvalue()} & {*CONTROLS} <= {"\n"}


@pytest.mark.parametrize("kind", ["no terminal", "a dumb one"])
def test_where_no_bar_can_move_there_are_lines(monkeypatch, capsys, caplog, kind):
    if kind == "a dumb one":
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv("TERM", "dumb")
    with caplog.at_level(logging.INFO), shown_streams(), shown_progress(), stage("reading", 3, "files"):
        pass
    assert caplog.messages == ["reading: 3 files"]


def test_secrets_are_hidden_above_a_bar_too(terminal):
    with job_on(terminal), stage("s3://user:hunter2@bucket"):
        say("s3://user:hunter2@bucket\x1b[2J")
        print("s3://user:hunter2@bucket")
    assert "hunter2" not in terminal.getvalue()
    assert terminal.screen() == ["s3://(hidden)@bucket\\x1b[2J", "s3://(hidden)@bucket"]


def test_a_stream_without_bars_writes_at_once():
    stream = ShownStream(io.StringIO())
    stream.write("half")
    assert stream.terminal.getvalue() == "half"
    with shown_by(Bars(Console(file=stream.terminal, force_terminal=True), [stream])), stage("x"):
        stream.write(" of a line")
    assert stream.terminal.getvalue().endswith(" of a line")
