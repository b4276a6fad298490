"""`make demo` as a newcomer meets it, with the stand-in model; and interrupted."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.replicas.local_ray import descendants
from tests.end_to_end.submitting import ROOT, TIMEOUT_S, digests

pytestmark = pytest.mark.ray

DEMO_TIMEOUT_S = 200
"""A demo starts a head and runs six programs one after another: beside other tests, more than 100 s."""


@pytest.fixture
def start_demo():
    started = []

    def start(out, *options):
        started.append(popen_demo(out, *options))
        return started[-1]

    yield start
    for demo in started:
        demo.terminate()
        demo.communicate(timeout=TIMEOUT_S)


def popen_demo(out, *options):
    return subprocess.Popen(
        [sys.executable, "jobs/demo.py", "--out", str(out), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_demo_prints_its_table(tmp_path, start_demo, undisturbed):
    demo = start_demo(tmp_path / "demo", "--model", "fake")
    output, _ = demo.communicate(timeout=DEMO_TIMEOUT_S)
    assert demo.returncode == 0, output
    for expected in ("input", "accepted", "rejected: variance_above_max", "failed", "images/s", "contact_sheet.png"):
        assert expected in output
    assert (tmp_path / "demo" / "contact_sheet.png").stat().st_size > 10_000
    # Its jobs are submitted as users submit theirs, and nothing disturbs them.
    assert f"replicas: {min(10, os.cpu_count())}, shards to do: 10" in output
    assert undisturbed.items() <= digests(tmp_path / "demo").items()
    release = tmp_path / "demo/release/sod-benchmark-1.1.0"
    assert f"open      {release}/index.html" in output
    assert "flip_iou" in (release / "README.md").read_text()


@pytest.mark.thorough
def test_a_second_demo_resumes(tmp_path, start_demo):
    first = start_demo(tmp_path / "demo", "--model", "fake")
    output, _ = first.communicate(timeout=DEMO_TIMEOUT_S)
    assert first.returncode == 0, output
    second = start_demo(tmp_path / "demo", "--model", "fake")
    output, _ = second.communicate(timeout=DEMO_TIMEOUT_S)
    assert second.returncode == 0, output
    assert "resuming: 37 of 37 images were computed" in output
    assert '"computed": 0' in output


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process(tmp_path, start_demo, number):
    demo = start_demo(tmp_path / "demo", "--model", "fake:sleep_s=1")
    deadline = time.monotonic() + TIMEOUT_S
    while not (tmp_path / "demo" / "run.json").exists():
        assert demo.poll() is None, demo.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    started = descendants(psutil.Process(demo.pid)) - {psutil.Process(demo.pid)}
    assert len(started) > 3
    os.kill(demo.pid, number)
    output, _ = demo.communicate(timeout=TIMEOUT_S)
    assert demo.returncode == 1, output
    assert "Run the same command again to resume" in output
    assert [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
