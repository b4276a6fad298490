"""Runs on an object store: a local S3 server (moto) that throttles, fails and hangs up like real ones."""

import asyncio
import itertools
import random
from dataclasses import replace

import pytest
import s3fs

from model.config import ModelConfig
from pipeline.config import ClusterConfig
from pipeline.errors import StorageError, UnsoundReleaseError
from pipeline.files import storage
from pipeline.files.model_urls import at_hand
from pipeline.passes.check import repair_passes, verify_passes
from pipeline.passes.config import PassConfig
from pipeline.passes.options import FlipOptions
from pipeline.passes.score import score_run
from pipeline.release.check.verify import verify_release
from pipeline.release.publish.push import push_release
from pipeline.run import run
from pipeline.runs.check import repair, verify_run
from pipeline.runs.lease import held
from tests.pipeline.make import SessionEnded, candidate, end_at_write, make_collection, make_config, tree
from tests.pipeline.passes.make import make_run
from tests.pipeline.s3_server import s3_server

pytestmark = pytest.mark.usefixtures("small_pages")

COUNT = 7
FAULTS = ("throttled", "failed", "reset", "answer lost")
numbers = itertools.count()


@pytest.fixture(scope="module")
def s3():
    with pytest.MonkeyPatch.context() as patch:
        # The client's pauses grow to seconds; make them short, and keep their number.
        patch.setattr("botocore.retryhandler.delay_exponential", lambda *_, **__: 0.01)
        patch.setattr("s3fs.core.asyncio.sleep", _short_sleep)
        with s3_server(patch) as app:
            yield app


_sleep = asyncio.sleep


async def _short_sleep(seconds, *arguments):
    await _sleep(min(seconds, 0.01), *arguments)


@pytest.fixture(autouse=True)
def _no_faults_left(s3):
    s3.coming.clear()
    s3.fault_of = None
    s3.requests.clear()


@pytest.fixture
def out(s3):
    return f"s3://{s3.bucket}/run-{next(numbers)}"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Inputs, and the files of an undisturbed run on a local disk."""
    folder = tmp_path_factory.mktemp("quiet")
    inputs = make_collection(folder / "in", COUNT)
    config = make_config(inputs, folder / "run")
    run(config)
    return inputs, tree(config.out)


def objects(url):
    """Key below the run → content."""
    import s3fs

    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    path = url.removeprefix("s3://")
    return {key.removeprefix(path + "/"): fs.cat_file(key) for key in fs.find(path)}


def test_a_release_on_s3_passes_the_check_and_is_pushed_and_a_torn_one_does_neither(s3, quiet, out):
    release = run(make_config(quiet[0], out)).release
    s3.coming.extend(["throttled", "reset", None, "failed"])
    assert verify_release(release).problems == ()
    s3.coming.extend(["answer lost", None, "throttled"] * 9)
    pushed = push_release(release, storage.join(out, "published")).target
    assert verify_release(pushed).problems == ()
    storage.publish(storage.join(release, "NOTICE"), b"torn")
    assert [problem.where for problem in verify_release(release).problems] == ["NOTICE"]
    with pytest.raises(UnsoundReleaseError):
        push_release(release, storage.join(out, "again"))


def test_a_run_on_s3_has_the_bytes_of_one_on_disk(quiet, out):
    inputs, files = quiet
    run(make_config(inputs, out))
    assert objects(out) == files
    assert verify_run(out).problems == ()


@pytest.mark.parametrize("seed", range(2))
def test_throttling_errors_and_lost_connections_change_no_byte(s3, quiet, out, seed):
    inputs, files = quiet
    draw = random.Random(seed)
    s3.fault_of = lambda number: draw.choice(FAULTS) if draw.random() < 0.2 else None
    run(make_config(inputs, out, storage_patience_s=60.0))
    s3.fault_of = None
    assert objects(out) == files


def test_a_store_that_keeps_failing_is_named_and_the_run_resumes_later(s3, quiet, out):
    inputs, files = quiet
    s3.fault_of = lambda number: "failed" if number > 25 else None
    with pytest.raises(
        StorageError, match=r"s3://bench-\d+/run-\d+/.*: storage failed .*run the same command again to resume"
    ):
        run(make_config(inputs, out))
    s3.fault_of = None
    run(make_config(inputs, out))
    assert objects(out) == files


@pytest.mark.parametrize("number", [2, 7, 14])
def test_a_session_that_ends_at_a_write_is_resumed(quiet, out, number):
    inputs, files = quiet
    with pytest.MonkeyPatch.context() as patch:
        end_at_write(patch, number, after=number % 2 == 0)
        with pytest.raises(SessionEnded):
            run(make_config(inputs, out))
    run(make_config(inputs, out))
    assert objects(out) == files


def test_a_torn_file_on_s3_is_found_and_computed_again(quiet, out):
    inputs, files = quiet
    run(make_config(inputs, out))
    torn = candidate(out, "000001", "tar")
    storage.publish(torn, storage.read(torn)[:700])
    check = verify_run(out)
    assert check.broken == ("000001",)
    repair(out, check)
    run(make_config(inputs, out))
    assert objects(out) == files


def test_a_file_that_another_process_wrote_after_a_listing_is_read(out):
    storage.publish(storage.join(out, "mine"), b"1")
    assert storage.list_names(out) == ["mine"]
    s3fs.S3FileSystem(skip_instance_cache=True).pipe_file(storage.join(out, "theirs"), b"2")
    assert storage.read(storage.join(out, "theirs")) == b"2"


def test_an_upload_that_ends_early_never_becomes_visible(s3, out):
    storage.publish(f"{out}/file", b"old")
    s3.fault_of = lambda number: "reset"
    with pytest.raises(StorageError):
        storage.publish(f"{out}/file", b"new" * 100_000)
    s3.fault_of = None
    assert storage.read(f"{out}/file") == b"old"


def test_a_lease_whose_response_was_lost_is_still_held(s3, out):
    for number in range(1, 12):
        s3.requests.clear()
        s3.fault_of = lambda at, number=number: "answer lost" if at == number else None
        with held(out, beat_s=60) as lease:
            lease.check()


def test_a_score_pass_on_s3_has_the_bytes_of_one_on_disk_whatever_fails(s3, quiet, out, tmp_path):
    inputs, _ = quiet
    config = PassConfig(
        run=make_run(inputs, tmp_path / "run"), kind="flip", model=ModelConfig(model="fake"),
        cluster=ClusterConfig(engine="inline", live_every_s=0),
    )  # fmt: skip
    score_run(config, FlipOptions())
    files = tree(tmp_path / "run/passes")
    make_run(inputs, out)
    before = objects(out)
    draw = random.Random(4)
    s3.fault_of = lambda number: draw.choice(FAULTS) if draw.random() < 0.2 else None
    score_run(replace(config, run=out), FlipOptions())
    s3.fault_of = None
    after = objects(out)
    assert {name.removeprefix("passes/"): after[name] for name in after.keys() - before.keys()} == files
    assert {name: after[name] for name in before} == before
    assert [(check.problems, check.stray, check.left) for check in verify_passes(out)] == [((), (), 0)]
    torn = next(name for name in after if name.endswith("parquet") and name.startswith("passes/"))
    storage.publish(storage.join(out, torn), b"torn")
    assert [problem.where for problem in repair_passes(out)[0].problems] == [torn]
    score_run(replace(config, run=out), FlipOptions())
    assert objects(out) == after


def test_a_model_in_a_bucket_is_fetched_once_and_again_after_a_change(s3, out, tmp_path, monkeypatch):
    monkeypatch.setenv("SOD_CACHE", str(tmp_path))
    files = {"model_index.json": b"{}", "unet/model.safetensors": b"weights" * 99, "unet/config.json": b"[]"}
    for name, content in files.items():
        storage.publish(f"{out}/{name}", content)
    storage.publish(f"{out}/training.pkl", b"cos")
    model = at_hand(ModelConfig(model=out))
    assert tree(model.folder) == files
    s3.requests.clear()
    s3.coming += ["throttled", "reset"]
    assert at_hand(ModelConfig(model=out)) == model
    assert not [request for request in s3.requests if "safetensors" in str(request)]
    storage.publish(f"{out}/unet/config.json", b"{}")
    assert (at_hand(ModelConfig(model=out)).folder / "unet/config.json").read_bytes() == b"{}"
