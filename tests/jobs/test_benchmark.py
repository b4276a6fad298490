"""jobs/benchmark.py in a small form: what it prints. No figure is asserted, they are the machine's."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def benchmark(*arguments):
    command = [sys.executable, str(ROOT / "jobs/benchmark.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_table_has_a_row_for_each_number_of_shards():
    done = benchmark("--shards", "3", "20", "--images-per-shard", "2")
    assert done.returncode == 0, done.stderr
    head, line, *rows = done.stdout.splitlines()
    assert head.startswith("| committed shards | seconds until work begins |")
    assert [row.split("|")[1].strip() for row in rows] == ["3", "20"]
    assert set(line) == {"|", "-"}


def test_json_has_the_same_numbers_for_programs():
    done = benchmark("--shards", "5", "--json")
    (found,) = json.loads(done.stdout)["resume"]
    assert found["shards"] == 5
    assert found["seconds"] > 0
    assert found["bytes"] >= 0


def test_nonsense_is_a_wrong_request():
    done = benchmark("--shards", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --shards and --images-per-shard are at least 1\n"


def test_a_release_is_assembled_and_checked_for_each_number_of_images():
    done = benchmark("release", "--images", "40", "70")
    assert done.returncode == 0, done.stderr
    head, _, *rows = done.stdout.splitlines()
    assert head.startswith("| candidates | accepted |")
    assert [[cell.strip() for cell in row.split("|")[1:3]] for row in rows] == [["40", "40"], ["70", "70"]]


def test_no_images_are_a_wrong_request():
    done = benchmark("release", "--images", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --images are at least 1\n"
