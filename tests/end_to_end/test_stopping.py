"""A run that is asked to stop, as Ctrl-C and schedulers ask: it says how to go on, and does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.submitting import INPUT, ROOT, TIMEOUT_S, digests, run_script, wait_for_commits

GRACE_S = 20
"""Schedulers give 30 s."""
SHARDS = ("--shard-size", "4")


@pytest.fixture
def settings(tmp_path_factory):
    """The environment of a plain script: it knows of no cluster, and its home folder is empty."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return settings | {"HOME": str(tmp_path_factory.mktemp("home"))}


@pytest.fixture
def start(tmp_path, settings):
    """Starts the job as a plain script, in a process group of its own, as a shell does."""
    started = []

    def start_job(*options):
        command = [sys.executable, "jobs/coco_pseudolabel.py", *INPUT, "--out", str(tmp_path), *SHARDS, *options]
        # A shell that starts something in the background has it ignore SIGINT, and so would the job.
        restore = ["env", "--default-signal=INT"]
        started.append(
            subprocess.Popen(
                [*restore, *command],
                cwd=ROOT,
                env=settings,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start_job
    for job in started:
        job.kill()
        job.communicate()


@pytest.mark.parametrize(
    ("engine", "number"),
    [
        pytest.param("inline", signal.SIGINT, id="inline-SIGINT"),
        pytest.param("inline", signal.SIGTERM, id="inline-SIGTERM", marks=pytest.mark.thorough),
        pytest.param("ray", signal.SIGINT, id="ray-SIGINT", marks=pytest.mark.ray),
        # `ray job stop`, which test_submitted_jobs.py tries, is a SIGTERM too.
        pytest.param("ray", signal.SIGTERM, id="ray-SIGTERM", marks=[pytest.mark.ray, pytest.mark.thorough]),
    ],
)
def test_a_job_that_is_asked_to_stop_says_how_to_go_on_and_does(start, settings, tmp_path, undisturbed, engine, number):
    job = start("--engine", engine, "--model", "fake:sleep_s=0.2")
    wait_for_commits(tmp_path, 2)
    family = psutil.Process(job.pid).children(recursive=True)
    asked = time.monotonic()
    # Ctrl-C reaches the whole foreground group, a scheduler's signal the process that it started.
    os.killpg(job.pid, number) if number == signal.SIGINT else os.kill(job.pid, number)
    output, _ = job.communicate(timeout=TIMEOUT_S)
    assert job.returncode == 1, output
    assert time.monotonic() - asked < GRACE_S
    assert "images committed. Run the same command again to resume." in output
    assert "Traceback" not in output
    _, alive = psutil.wait_procs(family, timeout=GRACE_S)
    assert alive == []
    assert not (tmp_path / "lease").exists()

    committed = len(list((tmp_path / "commits").glob("*.json")))
    assert 2 <= committed < 10
    # In one process, since starting Ray takes ten seconds; test_submitted_jobs.py resumes on a cluster.
    after = run_script(tmp_path, "--engine", "inline", "--model", "fake", *SHARDS, env=settings)
    assert after.returncode == 0, after.stderr
    assert f"resuming: {4 * committed} of 37 images" in after.stderr
    assert digests(tmp_path) == undisturbed
    # A plain script starts Ray in its own process, and ends it; it leaves nothing in the home folder.
    assert not (Path(settings["HOME"]) / ".ray").exists()


def test_a_job_that_is_stopped_before_it_began_says_so(start, tmp_path):
    job = start("--engine", "inline", "--model", "nano")
    deadline = time.monotonic() + TIMEOUT_S
    while not (tmp_path / "lease").exists():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGTERM)
    output, _ = job.communicate(timeout=TIMEOUT_S)
    assert job.returncode == 1, output
    assert "Run the same command again" in output
    assert "Traceback" not in output
    assert not (tmp_path / "lease").exists()
