"""A power cut loses no name: whatever exists at the end got its name in a folder that was synced afterwards."""

import os

from pipeline.files import storage
from pipeline.forecast import forecast
from pipeline.release.publish.push import push_release
from pipeline.run import run
from tests.pipeline.make import make_collection, make_config, unsynced


def test_that_test_notices_a_name_that_is_not_synced(disk_events, tmp_path):
    (tmp_path / "folder").mkdir()
    os.rename(tmp_path / "folder", tmp_path / "other")
    assert unsynced(disk_events, tmp_path) == [str(tmp_path / "other")]
    storage.publish(str(tmp_path / "file"), b"x")
    assert unsynced(disk_events, tmp_path) == []


def test_no_name_of_a_run_its_release_and_its_push_is_lost(disk_events, tmp_path):
    inputs = make_collection(tmp_path / "in", 5)
    config = make_config(inputs, tmp_path / "deep" / "runs" / "1")
    forecast(config)
    release = run(config).release
    push_release(release, str(tmp_path / "deep" / "published" / "all"))
    assert ("named", release) in disk_events
    assert unsynced(disk_events, tmp_path / "deep") == []
