"""Every job says at once what it does, before anything that takes seconds to import, and names jobs that exist."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.ahead import command, next_steps
from jobs.commands import COMMANDS
from tests.test_architecture import BLOCKER

ROOT = Path(__file__).resolve().parents[2]
FIRST = {
    "predict --input-rgb-path photos --output-dir out": "predicting the photos of photos into out",
    "coco_pseudolabel --images photos --out run": "labelling photos into run",
    "coco_pseudolabel --images photos --out run --dry-run": "forecasting photos into run",
    "score_run run --pass flip": "scoring run with the pass flip",
    "evaluate --predictions photos --masks photos --out out": "evaluating; results go to out",
    "verify_release release": "checking release",
    "verify_run run": "checking run",
    "publish_release build run": "building sod-benchmark 1.0.0 from run",
    "publish_release sign release --key key": "signing release",
    "publish_release push release target": "publishing release to target",
    "publish_release export release --layout coco --out out": "exporting release as coco to out",
    "audit_release plan release": "planning an audit of release",
    "audit_release certify audit": "certifying from audit",
    "leaderboard render board": "rendering board",
    "train --train-img photos --train-gt photos --output-dir out --report-to none": "training nano in out",
    "convert_checkpoint --stable-diffusion-repo-path sd --out out --from-stable-diffusion": "making a model folder in "
    "out",
}
"""Command → its first line."""
RUN = (
    BLOCKER
    + """
import contextlib, importlib, json, os
from pipeline.progress.stages import shown_by
from tests.pipeline.progress.make import Recorder

for line in sys.stdin:
    script, *arguments = line.split()
    sys.argv, recorder = [script, *arguments], Recorder()
    with contextlib.suppress(BaseException), shown_by(recorder):  # a heavy package is refused, or the request is
        importlib.import_module(f"jobs.{script}").main()
    print(json.dumps([said.replace(f"{os.getcwd()}/", "") for said in recorder.lines[:1]]))
"""
)


@pytest.fixture(scope="module")
def first_lines(tmp_path_factory):
    """What each command says before it imports a heavy package, in one process that can import none."""
    folder = tmp_path_factory.mktemp("here")
    for name in ("photos", "sd"):
        (folder / name).mkdir()
    for name in ("a.jpg", "a.png"):
        (folder / "photos" / name).touch()
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(FIRST),
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(FIRST, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("line", FIRST)
def test_a_command_says_what_it_does_before_it_imports_what_takes_seconds(first_lines, line):
    assert first_lines[line] == [FIRST[line]]


def test_the_commands_that_people_are_told_of_exist():
    sources = [path.read_text() for path in (ROOT / "jobs").glob("*.py")]
    told = {name for source in sources for name in re.findall(r"""\bcommand\(["']([\w ]+)["']""", source)}
    assert len(told) > 5
    assert told <= COMMANDS.keys()


def test_what_a_command_is_given_is_quoted_for_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sod"])
    assert command("release push", "a b", Path("x;y")) == "sod release push 'a b' 'x;y'"


def test_next_steps_stand_below_each_other_on_stderr(capsys):
    next_steps("open page", "verify it")
    assert capsys.readouterr() == ("", "next: open page\n      verify it\n")
