"""Ray Train: workers of a cluster leave the same bytes as a training in one process, also after replacing dead ones."""

import json
import re
import subprocess
import sys
import time

import pytest

from tests.pipeline.training.make import (
    ROOT,
    left_by,
    make_command,
    make_config,
    rows_of,
    train_quietly,
    weights_of,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DEADLINE_S = 240
QUICK_TRAIN = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
"""Ray Train looks after its workers more often, and starts no process that asks whether their machines are taken."""


@pytest.fixture
def start_job(head):
    """Starts a training as a user of the shared head does."""

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, str(ROOT / "jobs/train.py"), *arguments],
            env=head.environment | QUICK_TRAIN | {"RAY_ADDRESS": head.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run_job(start_job):
    """Runs a training to its end; gives exit code, stdout and stderr."""

    def run(*arguments):
        with start_job(*arguments) as job:
            output, errors = job.communicate(timeout=DEADLINE_S)
        return job.returncode, output, errors

    return run


def kill_a_worker_after(job, head, checkpoint):
    deadline = time.monotonic() + DEADLINE_S
    while not checkpoint.exists():
        assert job.poll() is None, job.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = [process for process in head.processes() if re.match(r"ray::.*TrainWorker", " ".join(process.cmdline()))]
    workers[0].kill()


@pytest.mark.thorough
def test_two_workers_learn_from_the_batches_of_both(run_job, tmp_path, pairs_folder, tiny_weights):
    options = {"max_train_steps": 3, "train_batch_size": 1}
    in_two = {"engine": "ray", "workers": 2}
    code, _, errors = run_job(*make_command(pairs_folder, tiny_weights, tmp_path / "two", **options, **in_two))
    assert code == 0, errors
    train_quietly(make_config(pairs_folder, tiny_weights, tmp_path / "one", **options))
    assert json.loads((tmp_path / "two/training.json").read_text())["workers"] == 2
    assert rows_of(tmp_path / "two")[-1]["step"] == "3"
    two, one = weights_of(tmp_path / "two/model"), weights_of(tmp_path / "one/model")
    assert two["vae"] == one["vae"]
    assert two["unet"] != one["unet"]


def test_a_worker_that_dies_is_replaced_and_the_bytes_are_those_of_one_process(
    start_job, head, tmp_path, pairs_folder, tiny_weights
):
    # Enough steps that it is killed in the middle of them; the disk that checkpoints wait for may be slow.
    options = {"max_train_steps": 14, "checkpointing_steps": 2}
    with start_job(*make_command(pairs_folder, tiny_weights, tmp_path / "ray", engine="ray", **options)) as job:
        kill_a_worker_after(job, head, tmp_path / "ray/checkpoint-2")
        output, errors = job.communicate(timeout=DEADLINE_S)
    assert job.returncode == 0, errors
    assert json.loads(output.splitlines()[-1]) == {"model": str(tmp_path / "ray/model")}
    train_quietly(make_config(pairs_folder, tiny_weights, tmp_path / "inline", **options))
    assert left_by(tmp_path / "ray") == left_by(tmp_path / "inline")


@pytest.mark.thorough
def test_an_error_that_no_new_worker_would_fix_is_reported_once_and_not_retried(
    run_job, tmp_path, pairs_folder, tiny_weights
):
    options = {"engine": "ray", "learning_rate": 1e30, "max_train_steps": 5}
    code, _, errors = run_job(*make_command(pairs_folder, tiny_weights, tmp_path / "out", **options))
    assert code == 1
    assert errors.splitlines()[-1].endswith("start again in another --output-dir with a lower --learning-rate")
    assert "Traceback" not in errors.splitlines()[-1]
    assert not (tmp_path / "out/refused.json").exists()
