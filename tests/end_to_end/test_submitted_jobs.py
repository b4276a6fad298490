"""The main job as its users run it: submitted to a real Ray cluster, stopped, killed, and run again."""

import ast
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.end_to_end.submitting import ROOT, digests, submit_script, wait_for_commits

pytestmark = pytest.mark.ray

SHARDS = 10
SLOW = ("--model", "fake:sleep_s=0.3", "--shard-size", 4)
"""Slow enough that a request to stop finds it at work."""


def assert_goes_on_to_the_same_bytes(submit, out, undisturbed):
    committed = len(list((out / "commits").glob("*.json")))
    assert 0 < committed < SHARDS
    job = submit(out, "--model", "fake", "--shard-size", 4)
    assert job.wait() == "SUCCEEDED", job.logs()
    assert 0 < job.report()["computed"] <= 37 - 4 * (committed - 1)
    assert "resuming" in job.logs()
    assert "replicas: " in job.logs()
    assert digests(out) == undisturbed


def test_a_stopped_job_goes_on_and_after_its_driver_was_killed_too_to_the_same_bytes(submit, tmp_path, undisturbed):
    job = submit(tmp_path, *SLOW)
    wait_for_commits(tmp_path, 2)
    job.stop()
    assert job.wait() == "STOPPED"
    assert "Run the same command again to resume" in job.logs()
    stopped_with = len(list((tmp_path / "commits").glob("*.json")))
    assert stopped_with < SHARDS - 1

    job = submit(tmp_path, *SLOW)
    wait_for_commits(tmp_path, stopped_with + 1)
    job.kill_driver()
    assert job.wait() == "FAILED"
    assert "resuming: " in job.logs()

    assert_goes_on_to_the_same_bytes(submit, tmp_path, undisturbed)


@pytest.mark.thorough
def test_a_second_job_on_the_same_run_is_refused_and_the_first_is_not_disturbed(submit, tmp_path, undisturbed):
    with ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(lambda _: submit(tmp_path, *SLOW), range(2)))
    assert sorted(job.wait() for job in jobs) == ["FAILED", "SUCCEEDED"]
    (refused,) = [job for job in jobs if job.status() == "FAILED"]
    assert refused.exit_code() == 2
    assert "works on this run" in refused.logs() or "has just begun to work on this run" in refused.logs()
    assert digests(tmp_path) == undisturbed


def test_no_secret_and_nothing_made_is_uploaded_with_the_working_directory(head, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, project)
    kept = ["jobs/a.py", "model/nano/config.json", "README.md"]
    secret = [".env", "jobs/.env.production", "server.pem", "deep/id_rsa", ".netrc", ".aws/credentials", "hf_token.txt"]
    made = ["out/demo/release.json", "tests/test_a.py", ".venv/bin/python", "jobs/__pycache__/a.pyc"]
    for name in [*kept, *secret, *made]:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    listing = "import pathlib; print(sorted(p.as_posix() for p in pathlib.Path('.').rglob('*') if p.is_file()))"
    job = submit_script(head, ["python", "-c", listing], project)
    assert job.wait() == "SUCCEEDED", job.logs()
    uploaded = ast.literal_eval(job.logs().splitlines()[-1])
    assert [name for name in uploaded if not name.startswith((".git", ".ray"))] == sorted(kept)


def test_the_folder_of_a_head_is_for_this_user_alone(head):
    assert stat.S_IMODE(head.folder.stat().st_mode) == 0o700
