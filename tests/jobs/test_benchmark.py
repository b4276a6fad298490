"""jobs/benchmark.py in small forms: what it prints. No figure is asserted, they are the machine's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.benchmark import main
from pipeline.benchmarks.growth import Growth

ROOT = Path(__file__).resolve().parents[2]


def benchmark(*arguments):
    command = [sys.executable, str(ROOT / "jobs/benchmark.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def table(*arguments):
    """Heads and rows of the table, as stripped cells."""
    done = benchmark(*arguments)
    assert done.returncode == 0, done.stderr
    head, line, *rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in done.stdout.splitlines()]
    assert line == ["---"] * len(head)
    assert all(len(row) == len(head) for row in rows)
    return head, rows


def test_the_table_of_resuming_has_a_row_for_each_number_of_shards():
    head, rows = table("resume", "--shards", "3", "20", "--images-per-shard", "2")
    assert head[:2] == ["committed shards", "seconds until work begins"]
    assert [row[0] for row in rows] == ["3", "20"]


def test_json_has_the_same_numbers_for_programs():
    done = benchmark("resume", "--shards", "5", "--json")
    (found,) = json.loads(done.stdout)["resume"]
    assert found["shards"] == 5
    assert found["seconds"] > 0
    assert found["bytes"] >= 0


def test_a_release_is_assembled_and_checked_for_each_number_of_images():
    head, rows = table("release", "--images", "40", "70")
    assert head[:2] == ["candidates", "accepted"]
    assert [row[:2] for row in rows] == [["40", "40"], ["70", "70"]]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.thorough
def test_how_busy_a_model_is_is_measured_on_ray_and_in_one_process():
    done = benchmark("busy", "--images", "6", "--shard-size", "2", "--model", "fake:sleep_s=0.05", "--json")
    assert done.returncode == 0, done.stderr
    on_ray, inline = json.loads(done.stdout)["busy"]
    assert [found["engine"] for found in (on_ray, inline)] == ["ray", "inline"]
    for found in (on_ray, inline):
        assert (found["images"], found["shards"]) == (6, 3)
        assert 0 < found["busy_with_start"] < found["busy"] < 1


@pytest.mark.ray
@pytest.mark.thorough
def test_the_pipeline_and_ray_data_are_measured_with_the_same_images():
    head, rows = table("orchestration", "--images", "40", "--widths-px", "32", "--rounds", "1")
    assert head[1:3] == ["way", "images/s of a replica"]
    assert [row[:2] for row in rows] == [
        ["32 x 24 px", way] for way in ("ray", "inline", "ray data", "loop", "webdataset")
    ]
    assert rows[2][4] == "1.00"


@pytest.mark.ray
@pytest.mark.thorough
def test_growth_is_measured_in_a_process_and_on_a_cluster_of_its_own():
    _, rows = table("growth", "--shards", "5")
    assert [row[0] for row in rows] == ["5"]
    assert [case["shards"] for case in Growth(shards=(3, 8)).cases()] == [3, 8]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resume", "--shards", "0"), "shards is (0,); it must be at least 1"),
        (("release", "--images", "0"), "images is (0,); it must be at least 1"),
        (("busy", "--images", "0"), "images is 0; it must be at least 1"),
        (("orchestration", "--images", "3"), "images is 3; it must be at least 4"),
        (("growth", "--shards"), "shards is (); it must be at least 1"),
        (("busy", "--denoise-steps", "1000"), "denoise_steps is 1000; it must be from 1 to 999"),
        (("busy", "--model", "fake:no_such=1"), "no option 'no_such'"),
        (("busy", "--model", "/no/such/folder"), "--model /no/such/folder: there is no such folder"),
        (("breakdown", "--denoise-steps", "1000"), "denoise_steps is 1000; it must be from 1 to 999"),
        (("planning", "--places"), "places is (); give at least one"),
        (("limit", "--sizes"), "sizes is (); give at least one"),
        (("adaptive", "--seeds", "-1"), "seed is -1"),
        ((), "name a measurement first"),
    ],
)
def test_nonsense_is_a_wrong_request(run_here, arguments, said):
    code, stdout, stderr = run_here(main, "benchmark.py", *arguments)
    assert (code, stdout) == (2, "")
    assert said in " ".join(stderr.replace("│", " ").split())


@pytest.mark.thorough
def test_a_measurement_that_fails_ends_the_job():
    done = benchmark("busy", "--images", "1", "--model", "fake:raise_at=000000000001")
    assert (done.returncode, done.stdout) == (1, "")
