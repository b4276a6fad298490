"""Ray Train: workers of a cluster leave the bytes of a training in one process."""

import json
import os
import subprocess
import sys

import pytest

from tests.pipeline.training.make import ROOT, left_by, make_command

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def run_job(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs/train.py"), *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_worker_of_ray_train_leaves_the_bytes_of_a_training_in_one_process(tmp_path, pairs_folder, tiny_weights):
    for engine in ("ray", "inline"):
        command = make_command(pairs_folder, tiny_weights, tmp_path / engine, engine=engine, max_train_steps=3)
        done = run_job(*command)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == {"model": str(tmp_path / engine / "model")}
    assert left_by(tmp_path / "ray") == left_by(tmp_path / "inline")
