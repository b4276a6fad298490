"""Two machines that are suspended in turn: each takes the run over while the other sleeps, and nothing is lost."""

import random
import signal
import subprocess
import sys

import pytest

from pipeline.release.check.verify import verify_release
from pipeline.runs.check import verify_run
from tests.end_to_end.submitting import INPUT, ROOT, TIMEOUT_S, digests, run_inline, wait_for_commits

SHARDS = ("--shard-size", "4", "--batch-images", "2", "--ensemble-size", "3")
SESSION = """
import sys
from jobs.coco_pseudolabel import main
from jobs.command_line import run_job
from pipeline.runs import holder, lease
machine = sys.argv.pop(1)
lease.this_machine = holder.this_machine = lambda: machine
lease.held.__wrapped__.__kwdefaults__.update(beat_s=0.1, patience_s=0.8)
run_job(main)
"""
"""The job as on a machine of its own, which waits for another machine's beat for less than a second."""


@pytest.fixture
def begin(tmp_path):
    started = []

    def start(machine, *options):
        command = [
            sys.executable,
            "-c",
            SESSION,
            machine,
            *INPUT,
            "--out",
            str(tmp_path),
            "--engine",
            "inline",
            *SHARDS,
        ]
        started.append(
            subprocess.Popen(
                [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_machines_that_are_suspended_in_turn_lose_nothing_and_change_no_byte(begin, tmp_path, tmp_path_factory):
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    assert run_inline(undisturbed, "--model", "fake", *SHARDS).returncode == 0
    asleep, draw = [], random.Random(3)
    for turn, commits in enumerate((2, 4)):
        session = begin(f"machine {turn}", "--model", "fake:sleep_s=0.15")
        wait_for_commits(tmp_path, commits)
        session.send_signal(signal.SIGSTOP)
        asleep.append(session)
    last = begin("the last machine", "--model", "fake")
    assert last.wait(TIMEOUT_S) == 0, last.stdout.read()
    finished = digests(tmp_path)
    draw.shuffle(asleep)
    for session in asleep:
        session.send_signal(signal.SIGCONT)
        output, _ = session.communicate(timeout=TIMEOUT_S)
        assert session.returncode == 1, output
        assert "another session took over this run" in output or "took over this run, because" in output
    assert {name: digests(tmp_path).get(name) for name in finished} == finished
    assert {name: digest for name, digest in digests(undisturbed).items() if "release" not in name} == {
        name: digest for name, digest in finished.items() if "release" not in name
    }
    after = begin("the last machine", "--model", "fake")
    assert after.wait(TIMEOUT_S) == 0, after.stdout.read()
    check = verify_run(str(tmp_path))
    assert (check.problems, check.left, check.stray) == ((), 0, ())
    assert verify_release(str(tmp_path / "release/sod-benchmark-1.0.0")).problems == ()
