"""What a job tells people at its beginning and at its end: what it does now, and what they can do next."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.commands import COMMANDS
from pipeline.progress.stages import say, stage


def command(name: str, *arguments: object) -> str:
    """How to call a command, as people type it: `command("release push", release, "s3://bucket")`."""
    return " ".join([COMMANDS[name].called(), *(shlex.quote(str(argument)) for argument in arguments)])


@contextmanager
def begun(line: str) -> Iterator[None]:
    """Say what the job does, then import what it needs for it, in this block: torch alone takes seconds."""
    say(line)
    with stage("loading the libraries"):
        yield


def next_steps(*lines: str) -> None:
    """Say what people can do with the result: the last lines on stderr."""
    for number, line in enumerate(lines):
        print(f"{'next: ' if number == 0 else '      '}{line}", file=sys.stderr, flush=True)
