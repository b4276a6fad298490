"""What a job tells people at its beginning and at its end: what it does now, and what they can do next."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.progress.stages import say, stage

_SCRIPTS = {
    "predict": "predict.py",
    "label": "coco_pseudolabel.py",
    "score": "score_run.py",
    "audit": "audit_release.py",
    "release build": "publish_release.py build",
    "release sign": "publish_release.py sign",
    "release push": "publish_release.py push",
    "release export": "publish_release.py export",
    "release verify": "verify_release.py",
    "run verify": "verify_run.py",
    "evaluate": "evaluate.py",
    "leaderboard": "leaderboard.py",
    "train": "train.py",
    "convert": "convert_checkpoint.py",
}


def command(name: str, *arguments: object) -> str:
    """How to call a job, as people type it: `command("release push", release, "s3://bucket")`."""
    script, _, rest = name.partition(" ")
    words = _SCRIPTS.get(name) or f"{_SCRIPTS[script]} {rest}"
    return " ".join(["python", f"jobs/{words}", *(shlex.quote(str(argument)) for argument in arguments)])


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
