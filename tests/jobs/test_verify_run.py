"""jobs/verify_run.py as its user sees it: what it prints, and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.run import run
from tests.pipeline.make import make_collection, make_config

ROOT = Path(__file__).resolve().parents[2]


def verify(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs/verify_run.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def out(tmp_path):
    config = make_config(make_collection(tmp_path / "in", 5), tmp_path / "run")
    run(config)
    return Path(config.out)


def test_a_whole_run_is_said_to_be_whole(out):
    done = verify(out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{out}: 2 of 2 shards are there", "5 images: 5 predicted, 0 failed, 0 left to compute",
    ]  # fmt: skip


def test_what_is_broken_is_named_then_repaired_then_gone(out):
    (out / "candidates/000001.tar").write_bytes(b"half")
    named = verify(out)
    assert named.returncode == 1
    assert "candidates/000001.tar: " in named.stdout
    assert "has 4 bytes and SHA-256" in named.stdout
    assert named.stdout.splitlines()[-1].startswith("1 shards are broken: --repair")
    repaired = verify(out, "--repair")
    assert repaired.returncode == 1
    assert repaired.stdout.splitlines()[-1].startswith("3 files removed")
    again = verify(out, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["left"] == 2


def test_what_is_no_run_is_a_wrong_request(tmp_path):
    done = verify(tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("run.json")
    assert "Traceback" not in done.stderr
