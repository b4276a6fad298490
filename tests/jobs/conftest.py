"""Jobs in the process of the tests, for what needs no process of its own."""

import logging
import signal
import sys

import pytest

from jobs.command_line import run_job


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Run a job's `main` with a command line as `run_job` does; gives exit code, stdout and stderr."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)

    def run(main, *command_line):
        monkeypatch.setattr(sys, "argv", list(command_line))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_job(main)
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run
