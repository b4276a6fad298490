"""Jobs in the process of the tests, for what needs no process of its own."""

import logging
import signal
import sys
from dataclasses import dataclass

import pytest

from jobs.command_line import run_job


@dataclass(frozen=True)
class Done:
    """How a job ended, in the words of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Run a job's `main` with a command line as `run_job` does; gives exit code, stdout and stderr."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    # Ray leaves a handler of its own in a process that was a driver once; its stream is that of an earlier test.
    of_tests = [handler for handler in logging.root.handlers if type(handler).__module__.startswith("_pytest")]
    monkeypatch.setattr(logging.root, "handlers", of_tests)

    def run(main, *command_line):
        monkeypatch.setattr(sys, "argv", list(command_line))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_job(main)
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def done_here(run_here, caplog):
    """Run a job's `main` as `run_here` does; what was logged is on stderr, as `run_job` has it."""

    def run(main, *command_line):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            code, stdout, stderr = run_here(main, *map(str, command_line))
        logged = "".join(f"{record.levelname} {record.getMessage()}\n" for record in caplog.records)
        return Done(code, stdout, logged + stderr)

    return run
