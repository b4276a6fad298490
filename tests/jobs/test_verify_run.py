"""jobs/verify_run.py as its users see it: its output and exit codes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import verify_run
from pipeline.run import run
from pipeline.runs.lease import held
from tests.pipeline.make import candidate, make_collection, make_config


@pytest.fixture
def verify(done_here):
    """Runs the job in this process."""
    return lambda *arguments: done_here(verify_run.main, "verify_run.py", *arguments)


@pytest.fixture
def out(tmp_path):
    config = make_config(make_collection(tmp_path / "in", 5), tmp_path / "run")
    run(config)
    return Path(config.out)


def test_a_whole_run_is_reported_as_whole(out):
    # The script itself, as a process.
    command = [sys.executable, str(Path(verify_run.__file__)), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, f"checking {out}")
    assert done.stdout.splitlines() == [
        f"{out}: 2 of 2 shards are committed", "5 images: 5 predicted, 0 failed, 0 left to compute",
    ]  # fmt: skip


def test_what_is_broken_is_named_then_repaired_then_gone(verify, out):
    tar = Path(candidate(out, "000001", "tar"))
    tar.write_bytes(b"half")
    named = verify(out)
    assert named.returncode == 1
    assert f"candidates/{tar.name}: " in named.stdout
    assert "has 4 bytes and SHA-256" in named.stdout
    assert named.stdout.splitlines()[-1].startswith("broken shards: 1; --repair")
    repaired = verify(out, "--repair")
    assert repaired.returncode == 0
    assert repaired.stdout.splitlines()[-1].startswith("files removed: 3;")
    again = verify(out, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["left"] == 2


def test_a_damaged_run_json_and_plan_are_named_and_restored_with_0(verify, out):
    (part,) = (out / "plan").glob("0*.parquet")
    for path in (out / "run.json", part):
        path.write_bytes(b"half")
    named = verify(out)
    assert named.returncode == 1
    assert f"{out}/run.json does not hold a fingerprint" in named.stderr
    assert f"sod run verify {out} --repair restores it" in named.stderr
    repaired = verify(out, "--repair")
    assert repaired.returncode == 0
    assert not any(line.startswith(("WARNING", "ERROR", "failed")) for line in repaired.stderr.splitlines())
    assert repaired.stdout.splitlines()[-1] == f"files restored: plan/{part.name}, run.json"
    assert verify(out).returncode == 0


@pytest.mark.parametrize("repair", [[], ["--repair"]], ids=["check", "repair"])
def test_a_folder_without_a_run_is_a_wrong_request_and_stays_as_it_is(verify, tmp_path, repair):
    for folder in (tmp_path, tmp_path / "nowhere"):
        done = verify(folder, *repair)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].endswith("run.json does not exist")
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_run_is_repaired_while_a_session_works_on_it(verify, out):
    tar = Path(candidate(out, "000001", "tar"))
    tar.write_bytes(b"half")
    with held(str(out)):
        refused = verify(out, "--repair")
        checked = verify(out)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "works on this run" in refused.stderr
    assert checked.returncode == 1
    assert tar.read_bytes() == b"half"


def test_what_a_repair_can_not_mend_is_named_with_1(verify, out):
    shutil.rmtree(out / "release")
    (out / "device.json").write_bytes(b"")
    repaired = verify(out, "--repair")
    assert repaired.returncode == 1
    assert repaired.stdout.splitlines()[-1].startswith(
        "problems that --repair can't mend: 1, for example device.json: "
    )
