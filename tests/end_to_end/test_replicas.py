"""What replicas do on a real Ray cluster. The driver is in this process: how jobs are submitted is not the point."""

import json
import logging
import re
import threading

import psutil
import pytest

from pipeline.errors import ReplicaError
from pipeline.files.storage import is_unfinished
from pipeline.runs.candidates import read_rows
from pipeline.runs.check import verify_run
from pipeline.runs.commits import read_shard_record
from tests.end_to_end.submitting import Job, digests, wait_for_commits

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("on_cluster"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def drive(run_sample, tmp_path, caplog):
    """Runs the sample on the cluster, and gives what was logged."""

    def drive_run(model, **options):
        with caplog.at_level(logging.INFO):
            run_sample(tmp_path, model=model, **options)
        return caplog.text

    return drive_run


def test_one_replica_gives_the_bytes_of_one_process_and_does_not_outlive_its_run(drive, head, tmp_path, undisturbed):
    assert "replicas: 1," in drive("fake", replicas=1)
    assert digests(tmp_path) == undisturbed
    _, alive = psutil.wait_procs(Job(head, "in this process").replicas(), timeout=20)
    assert alive == []


def test_killed_replicas_are_replaced(drive, head, tmp_path, undisturbed):
    killed = []

    def kill_all():
        wait_for_commits(tmp_path, 2)
        killed.append(Job(head, "in this process").kill_replicas())

    killer = threading.Thread(target=kill_all)
    killer.start()
    said = drive("fake:sleep_s=0.15")
    killer.join()
    assert killed == [2]
    assert "died" in said
    assert digests(tmp_path) == undisturbed
    (post_mortem,) = (tmp_path / "live").glob("session-*")
    lines = [json.loads(line) for line in post_mortem.read_text().splitlines()]
    deaths = [(line["replica"], line["cause"]) for line in lines if line["event"] == "replica_ended"]
    assert sorted(death for death in deaths if death[1] != "surplus") == [("r0", "process"), ("r1", "process")]
    assert json.loads((tmp_path / "live/status.json").read_text())["settled"] == 37


def test_an_image_that_always_kills_its_process_is_found_skipped_and_recorded(drive, tmp_path):
    said = drive("fake:die_at=000000000007", replicas=1)
    assert "key 000000000007 killed its replica again and is skipped" in said
    check = verify_run(str(tmp_path))
    assert (check.failed, check.left, check.problems) == (1, 0, ())
    # The replica may have died while its other shard was being written.
    assert all(is_unfinished(name.rpartition("/")[2]) for name in check.stray)
    rows = read_rows(str(tmp_path), read_shard_record(str(tmp_path), "000001"))
    assert [(row.key[-1], row.reason) for row in rows] == [("5", ""), ("6", ""), ("7", "kills_replica"), ("8", "")]


@pytest.mark.thorough
def test_a_replica_that_hangs_is_replaced(drive, tmp_path, undisturbed):
    model = f"fake:hang_at=000000000007,once={tmp_path.parent / f'{tmp_path.name}.hung'}"
    # Long enough for a replica to start: on a busy machine one that does not is ended too, and replaced.
    said = drive(model, stall_after_s=12.0, progress_every_s=1.0)
    found = re.findall(r"no image of shard ([\d and]+) was finished for 12 s; its replica is ended", said)
    # It may have another shard in hand, which it would have worked on next.
    assert any("000001" in shards.split(" and ") for shards in found)
    assert digests(tmp_path) == undisturbed


@pytest.mark.thorough
def test_too_few_attempts_to_find_the_image_stop_the_run_and_name_the_shard(drive):
    keys = "000000000005, 000000000006"
    with pytest.raises(ReplicaError, match=f"shard 000001 lost its replica 2 times, the last time at the keys {keys}"):
        drive("fake:die_at=000000000007", shard_attempts=2)


def test_a_bug_in_the_model_is_raised_at_once_and_not_tried_again(drive, caplog):
    with pytest.raises(Exception, match="told to raise at 000000000007"):
        drive("fake:raise_at=000000000007", replicas=1)
    assert "died" not in caplog.text
