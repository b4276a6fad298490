"""The main job as its users run it: submitted to a real Ray cluster, stopped, killed, and run again."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.runs.candidates import read_rows, read_shard_record
from pipeline.runs.check import verify_run
from tests.end_to_end.submitting import digests, run_inline, run_script, wait_for_commits

pytestmark = pytest.mark.ray

SHARDS = 10
SLOW = ("--model", "fake:sleep_s=0.15", "--shard-size", 4)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Digests of an uninterrupted run, made in one process."""
    out = tmp_path_factory.mktemp("undisturbed")
    done = run_inline(out, "--model", "fake", "--shard-size", 4)
    assert done.returncode == 0, done.stderr
    return digests(out)


def assert_goes_on_to_the_same_bytes(submit, out, undisturbed):
    committed = len(list((out / "commits").glob("*.json")))
    assert 0 < committed < SHARDS
    job = submit(out, *SLOW)
    assert job.wait() == "SUCCEEDED", job.logs()
    assert 0 < job.report()["computed"] <= 37 - 4 * (committed - 1)
    assert "resuming" in job.logs()
    assert digests(out) == undisturbed


def test_a_submitted_job_gives_the_bytes_of_a_run_in_one_process(submit, tmp_path, undisturbed):
    job = submit(tmp_path, "--model", "fake", "--shard-size", 4)
    assert job.wait() == "SUCCEEDED", job.logs()
    assert "replicas: 2," in job.logs()
    assert digests(tmp_path) == undisturbed


def test_one_replica_gives_the_bytes_of_two(submit, tmp_path, undisturbed):
    job = submit(tmp_path, "--model", "fake", "--shard-size", 4, "--replicas", 1)
    assert job.wait() == "SUCCEEDED", job.logs()
    assert "replicas: 1," in job.logs()
    assert digests(tmp_path) == undisturbed


def test_a_stopped_job_goes_on_to_the_same_bytes(submit, tmp_path, undisturbed):
    job = submit(tmp_path, *SLOW)
    wait_for_commits(tmp_path, 2)
    job.stop()
    assert job.wait() == "STOPPED"
    assert "Run the same command again to resume" in job.logs()
    assert_goes_on_to_the_same_bytes(submit, tmp_path, undisturbed)


def test_a_killed_driver_loses_nothing(submit, tmp_path, undisturbed):
    job = submit(tmp_path, *SLOW)
    wait_for_commits(tmp_path, 2)
    job.kill_driver()
    assert job.wait() == "FAILED"
    assert_goes_on_to_the_same_bytes(submit, tmp_path, undisturbed)


def test_killed_replicas_are_replaced_within_the_job(submit, tmp_path, undisturbed):
    job = submit(tmp_path, *SLOW)
    wait_for_commits(tmp_path, 2)
    assert job.kill_replicas() == 2
    assert job.wait() == "SUCCEEDED", job.logs()
    assert "died" in job.logs()
    assert digests(tmp_path) == undisturbed


def test_a_second_job_on_the_same_run_is_refused_and_the_first_is_not_disturbed(submit, tmp_path, undisturbed):
    with ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(lambda _: submit(tmp_path, *SLOW), range(2)))
    assert sorted(job.wait() for job in jobs) == ["FAILED", "SUCCEEDED"]
    (refused,) = [job for job in jobs if job.status() == "FAILED"]
    assert refused.exit_code() == 2
    assert "works on this run" in refused.logs() or "has just begun to work on this run" in refused.logs()
    assert digests(tmp_path) == undisturbed


def test_an_image_that_always_kills_its_process_is_found_skipped_and_recorded(submit, tmp_path):
    job = submit(tmp_path, "--model", "fake:die_at=000000000007", "--shard-size", 4, "--max-failed-share", 0.5)
    assert job.wait() == "SUCCEEDED", job.logs()
    assert "key 000000000007 killed its replica again and is skipped" in job.logs()
    check = verify_run(str(tmp_path))
    assert (check.failed, check.left, check.problems, check.stray) == (1, 0, (), ())
    rows = read_rows(str(tmp_path), read_shard_record(str(tmp_path), "000001"))
    assert [(row.key[-1], row.reason) for row in rows] == [("5", ""), ("6", ""), ("7", "kills_replica"), ("8", "")]


def test_a_replica_that_hangs_is_replaced(submit, tmp_path, undisturbed):
    model = f"fake:hang_at=000000000007,once={tmp_path.parent / f'{tmp_path.name}.hung'}"
    # Long enough for a replica to start on a busy machine: it is ended too while nothing of it is finished.
    job = submit(tmp_path, "--model", model, "--shard-size", 4, "--stall-after-s", 20, "--progress-every-s", 1)
    assert job.wait() == "SUCCEEDED", job.logs()
    # It has another shard in hand, which it would have worked on next.
    said = re.search(r"no image of shard ([\d and]+) was finished for 20 s; its replica is ended", job.logs())
    assert "000001" in said[1].split(" and ")
    assert digests(tmp_path) == undisturbed


def test_too_few_attempts_to_find_the_image_stop_the_run_and_name_the_shard(submit, tmp_path):
    job = submit(tmp_path, "--model", "fake:die_at=000000000007", "--shard-size", 4, "--shard-attempts", 2)
    assert job.wait() == "FAILED"
    assert job.exit_code() == 1
    assert "shard 000001 lost its replica 2 times, the last time at the keys 000000000005, 000000000006" in job.logs()


def test_a_bug_in_the_model_is_raised_at_once_and_not_tried_again(submit, tmp_path):
    job = submit(tmp_path, "--model", "fake:raise_at=000000000007", "--shard-size", 4)
    assert job.wait() == "FAILED"
    assert job.exit_code() == 1
    assert "told to raise at 000000000007" in job.logs()
    assert "died" not in job.logs()


def test_a_wrong_request_ends_with_exit_code_2(submit, tmp_path):
    job = submit(tmp_path, "--model", "fake", "--max-variance", 7)
    assert job.wait() == "FAILED"
    assert job.exit_code() == 2
    assert "max_variance is 7.0; it must be from 0 to 0.25" in job.logs()


def test_a_plain_script_starts_ray_in_its_own_process_and_writes_nothing_into_the_home_folder(tmp_path, undisturbed):
    home = tmp_path / "home"
    home.mkdir()
    settings = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    options = ("--model", "fake", "--shard-size", 4)
    done = run_script(tmp_path / "out", *options, env=settings | {"HOME": str(home)})
    assert done.returncode == 0, done.stderr
    assert "shards to do: 10" in done.stderr
    assert digests(tmp_path / "out") == undisturbed
    assert not (home / ".ray").exists()
