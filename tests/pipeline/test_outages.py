"""Runs whose object store goes away in the middle, and comes back: a real server behind a cable that is pulled."""

import asyncio
import itertools
import json
import logging
import re
import threading
import time
from collections import deque

import pytest
import s3fs

from pipeline.errors import LeaseLostError, Stopped, StorageUnavailableError
from pipeline.files import patience, storage
from pipeline.release.check.verify import verify_release
from pipeline.run import run
from pipeline.runs.check import verify_run
from tests.pipeline.cut_proxy import cut_proxy
from tests.pipeline.make import make_collection, make_config
from tests.pipeline.s3_server import s3_server

pytestmark = pytest.mark.usefixtures("fast_disk")

COUNT = 4
AWAY_S = 0.3
MOMENTS = (
    ("GET", r"/images/2\.jpg"),  # reading ahead
    ("GET", r"/images/4\.jpg"),  # probing, before the first shard
    ("PUT", r"/candidates/000000\.\w+\.tar"),  # publishing
    ("PUT", r"/commits/000001\.json"),  # claiming
    ("GET", r"/candidates/000001\.\w+\.tar"),  # making the release
    ("PUT", r"/data/test/test-00000-of-00001\.tar"),
    ("PUT", r"/manifest\.parquet"),
    ("PUT", r"/release\.json"),
)
"""Method and name of the requests at which the cable is pulled."""
numbers = itertools.count()
_sleep = asyncio.sleep


async def _short_sleep(seconds, *arguments):
    await _sleep(min(seconds, 0.01), *arguments)


@pytest.fixture(scope="module")
def s3():
    with pytest.MonkeyPatch.context() as patch:
        # The client's own tries end within a moment, as they would if the storage were away for long.
        patch.setattr("botocore.retryhandler.delay_exponential", lambda *_, **__: 0.01)
        patch.setattr("s3fs.core.asyncio.sleep", _short_sleep)
        patch.setattr("pipeline.files.outages.FIRST_PAUSE_S", 0.05)
        patch.setattr("pipeline.files.patience.SAID_AFTER_S", 0.0)
        with s3_server(patch) as app, cut_proxy(app.port) as proxy:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
            s3fs.S3FileSystem.clear_instance_cache()
            app.proxy = proxy
            yield app


@pytest.fixture(scope="module")
def config_of(s3, tmp_path_factory):
    """Makes configurations of runs in the bucket, of images that are there too."""
    inputs = make_collection(tmp_path_factory.mktemp("in"), COUNT)
    for path in inputs.images.iterdir():
        storage.publish(f"s3://{s3.bucket}/images/{path.name}", path.read_bytes())

    def config(name, **options):
        given = {"images": f"s3://{s3.bucket}/images", "storage_patience_s": 60.0}
        return make_config(inputs, f"s3://{s3.bucket}/{name}", **given | options)

    return config


@pytest.fixture(scope="module")
def quiet(s3, config_of):
    """The files of an undisturbed run."""
    run(config_of("quiet"))
    return objects(s3, "quiet")


@pytest.fixture
def out(s3):
    s3.requests.clear()
    s3.timers = []
    yield f"run-{next(numbers)}"
    s3.fault_of = None
    for timer in s3.timers:
        timer.cancel()
        timer.join()
    s3.proxy.mend()


def objects(s3, name):
    """Key below a folder of the bucket → content."""
    folder = f"s3://{s3.bucket}/{name}"
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    path = folder.removeprefix("s3://")
    return {key.removeprefix(path + "/"): fs.cat_file(key) for key in fs.find(path)}


def cut_at(s3, moments, *, away_s=AWAY_S):
    """Pull the cable at the first request of each moment, for so long; at every second one only the answer is lost.

    Returns: the moments that have come.
    """
    left, come = deque(moments), []

    def fault_of(_number):
        method, path = s3.requests[-1]
        for moment in list(left):
            if method == moment[0] and re.search(moment[1], path):
                left.remove(moment)
                come.append(moment)
                s3.proxy.cut()
                s3.timers.append(threading.Timer(away_s, s3.proxy.mend))
                s3.timers[-1].start()
                return ("reset", "answer lost")[len(come) % 2]
        return None

    s3.fault_of = fault_of
    return come


def test_a_run_whose_storage_goes_away_again_and_again_goes_through_with_the_same_bytes(
    s3, config_of, quiet, out, caplog
):
    errors = patience.storage_health().errors
    come = cut_at(s3, MOMENTS)
    with caplog.at_level(logging.INFO, logger="pipeline.files.patience"):
        report = run(config_of(out))
    assert sorted(come) == sorted(MOMENTS)
    assert objects(s3, out) == quiet
    assert verify_run(f"s3://{s3.bucket}/{out}").problems == ()
    assert verify_release(report.release).problems == ()
    said = [record.getMessage() for record in caplog.records if record.name == "pipeline.files.patience"]
    assert 2 <= len(said) <= 2 * len(MOMENTS)
    assert {line.split(" ")[0] for line in said} == {f"s3://{s3.bucket}"}
    assert said[-1].startswith(f"s3://{s3.bucket} responds again, after ")
    health = patience.storage_health()
    assert (health.errors > errors, health.away_s) == (True, 0.0)


def test_a_storage_that_stays_away_ends_the_run_with_its_name_and_what_to_do(s3, config_of, out):
    cut_at(s3, MOMENTS[3:4], away_s=60.0)
    with pytest.raises(StorageUnavailableError, match=rf"{out}.*the storage has not responded for \d+ s .* to resume"):
        run(config_of(out, storage_patience_s=0.2))


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (MOMENTS[1], r"asked to stop while s3://bench-\d+ did not respond \(.*\)\. Run the same command again"),
        (("PUT", r"/candidates/000001\.\w+\.tar"), r"asked to stop with 3 of 4 images committed"),
    ],
    ids=["before the work", "at work"],
)
def test_a_run_that_is_asked_to_stop_while_its_storage_is_away_stops(s3, config_of, out, moment, said):
    cut_at(s3, [moment], away_s=60.0)
    threading.Thread(target=lambda: (wait_until_away(s3), patience.end()), daemon=True).start()
    with pytest.raises(Stopped, match=said):
        run(config_of(out, storage_patience_s=600.0))


def test_a_session_whose_run_was_taken_over_while_it_waited_stops(s3, config_of, out):
    elsewhere = s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{s3.port}", skip_instance_cache=True)
    holder = {"owner": "other", "machine": "elsewhere", "host": "node7", "pid": 4242, "started": 1.0}
    come = cut_at(s3, MOMENTS[2:3], away_s=60.0)

    def take_over():
        wait_until_away(s3)
        elsewhere.pipe_file(f"{s3.bucket}/{out}/lease/000002.json", json.dumps(holder).encode())
        s3.proxy.mend()

    threading.Thread(target=take_over, daemon=True).start()
    with pytest.raises(LeaseLostError, match=r"the session on node7 .* took over this run"):
        run(config_of(out))
    assert come
    assert [name for name in objects(s3, out) if name.startswith("commits/")] == ["commits/000000.json"]


def wait_until_away(s3):
    """Until the run has met the cable that is pulled."""
    while s3.proxy.is_whole or not patience.storage_health().away_s:
        time.sleep(0.01)
