"""Properties, examples and faults of one shard's way from its spec to its commit, with the fake model."""

import errno
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import EnsembleConfig
from model.fake import FakeModel
from model.prediction import ModelMemoryError, ModelOutputError
from pipeline.errors import FAILURE_REASONS
from pipeline.files import storage
from pipeline.records import ShardSpec
from pipeline.replicas import batches, reading, shards, work
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.work import Shared, process_shard
from pipeline.runs import candidates, commits
from tests.pipeline.files.make_images import tiff_of
from tests.pipeline.make import make_collection, make_entry, make_jpeg, make_key, read_samples, tree, write_annotations

COUNT = 9
BATCH_IMAGES = 3
KEYS = [make_key(number) for number in range(1, COUNT + 1)]
LARGEST_BYTES, LARGEST_PX = 60_000, 5000


class RecordingModel:
    """The fake model; records every call, and breaks at the keys in `broken`."""

    device_kind = "cpu"

    def __init__(self, broken=()):
        self.model = FakeModel(ensemble=EnsembleConfig(ensemble_size=3))
        self.broken = set(broken)
        self.batches = []

    def predict(self, images, keys):
        self.batches.append(list(keys))
        if self.broken & set(keys):
            raise ModelOutputError(f"members lie in [nan, nan] among {keys}")
        return self.model.predict(images, keys)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """Nine images with nothing wrong; never changed by a test."""
    return make_collection(tmp_path_factory.mktemp("healthy"), COUNT)


@pytest.fixture(scope="module")
def undisturbed(healthy, tmp_path_factory):
    """Their result: the run's folder and the rows."""
    run = tmp_path_factory.mktemp("undisturbed")
    return run, process(healthy, run).rows


def make_work(run, **overrides):
    limits = {"batch_images": BATCH_IMAGES, "max_image_bytes": LARGEST_BYTES, "max_image_pixels": LARGEST_PX}
    return ShardWork(run=str(run), **limits | overrides)


def spec_of(inputs):
    return ShardSpec(index=0, samples=read_samples(str(inputs.annotations), str(inputs.images)).samples)


def process(inputs, run, model=None, **overrides):
    return process_shard(spec_of(inputs), model or RecordingModel(), make_work(run, **overrides))


def maps_of(run):
    """Key → stored saliency and variance as lists, of a committed shard."""
    stored = candidates.read_maps(str(run), commits.read_shard_record(str(run), "000000"))
    return {key: (maps.saliency.tolist(), maps.variance.tolist()) for key, maps in stored}


def assert_nothing_is_committed(run):
    assert commits.committed_shards(str(run)) == {}


# Every kind of image that can't be used: what is done to the collection before it is listed, and to the folder after.


def text_as_image(inputs):
    inputs.file(5).write_bytes(b"<html>not found</html>")


def no_bytes(inputs):
    inputs.file(5).write_bytes(b"")


def cut_image(inputs):
    inputs.file(5).write_bytes(inputs.file(5).read_bytes()[:300])


def gone(inputs):
    inputs.file(5).unlink()


def too_large_file(inputs):
    with inputs.file(5).open("ab") as file:
        file.write(bytes(LARGEST_BYTES))


def too_many_pixels(inputs):
    annotate(inputs, width=100, height=51)
    inputs.file(5).write_bytes(make_jpeg(5, 100, 51))


def too_slow(inputs):
    inputs.file(5).write_bytes(tiff_of({256: 64, 257: 48} | dict.fromkeys(range(1000, 5095), 1)))


def too_large(inputs):
    inputs.file(5).write_bytes(tiff_of({256: 64, 257: 48, 322: 1 << 14, 323: 1 << 14}))


def other_size(inputs):
    annotate(inputs, width=99)


def absurd_size(inputs):
    annotate(inputs, width=10**12 - 1, height=10**12 - 1)


def leads_out(inputs):
    annotate(inputs, file_name="../5.jpg")


def folder_as_image(inputs):
    gone(inputs)
    inputs.file(5).mkdir()


def annotate(inputs, **changes):
    write_annotations(inputs, [entry | (changes if entry["id"] == 5 else {}) for entry in inputs.entries])


def nothing(_inputs):
    pass


BAD_IMAGES = [
    ("undecodable", text_as_image, nothing),
    ("undecodable", no_bytes, nothing),
    ("undecodable", cut_image, nothing),
    ("missing", gone, nothing),
    ("missing", nothing, gone),
    ("missing", folder_as_image, nothing),
    ("unreadable", nothing, folder_as_image),
    ("too_many_bytes", too_large_file, nothing),
    ("too_many_pixels", too_many_pixels, nothing),
    ("too_slow", too_slow, nothing),
    ("too_large", too_large, nothing),
    ("size_mismatch", other_size, nothing),
    ("too_many_pixels", absurd_size, too_many_pixels),
    ("unsafe_path", leads_out, nothing),
]


def name_of(value):
    return value if isinstance(value, str) else value.__name__


# Properties


@settings(max_examples=15)
@given(st.sets(st.sampled_from(KEYS)), st.integers(1, COUNT + 1))
def test_whichever_images_fail_each_image_has_one_row_in_key_order_and_the_others_are_untouched(
    healthy, tmp_path_factory, broken, batch_images
):
    run = tmp_path_factory.mktemp("any")
    rows = process(healthy, run, RecordingModel(broken), batch_images=batch_images).rows
    assert [row.key for row in rows] == KEYS
    assert {row.key for row in rows if row.status == "failed"} == broken
    whole = tmp_path_factory.mktemp("none")
    others = process(healthy, whole, batch_images=batch_images).rows
    assert [row for row in rows if row.key not in broken] == [row for row in others if row.key not in broken]
    assert maps_of(run) == {key: maps for key, maps in maps_of(whole).items() if key not in broken}


@settings(max_examples=15)
@given(st.sets(st.sampled_from(KEYS)), st.integers(1, COUNT + 1))
def test_a_failed_image_moves_no_other_image_to_another_batch(healthy, tmp_path_factory, unusable, batch_images):
    spec = spec_of(healthy)
    samples = [
        replace(sample, location=None, problem="missing") if sample.key in unusable else sample
        for sample in spec.samples
    ]
    model = RecordingModel()
    run = tmp_path_factory.mktemp("any")
    process_shard(replace(spec, samples=tuple(samples)), model, make_work(run, batch_images=batch_images))
    cut = [KEYS[start : start + batch_images] for start in range(0, COUNT, batch_images)]
    usable = [[key for key in batch if key not in unusable] for batch in cut]
    assert model.batches == [batch for batch in usable if batch]


# Examples


def test_every_image_has_one_row_in_key_order_and_is_reported_once(healthy, tmp_path):
    reported = []
    model = RecordingModel(broken=[KEYS[4]])
    result = process_shard(spec_of(healthy), model, make_work(tmp_path), shared=Shared(on_image=reported.append))
    assert [row.key for row in result.rows] == reported == KEYS
    assert (result.record.done, result.record.failed) == (COUNT - 1, 1)


def test_what_is_returned_is_what_was_committed(undisturbed):
    run, rows = undisturbed
    record = commits.read_shard_record(str(run), "000000")
    assert candidates.read_rows(str(run), record) == list(rows)
    assert list(maps_of(run)) == KEYS


def test_a_row_has_the_digest_and_size_of_the_file_and_the_number_of_members(healthy, undisturbed):
    for number, row in enumerate(undisturbed[1], start=1):
        file = storage.stored_file_at(healthy.file(number))
        assert (row.image_sha256, row.image_bytes, row.members) == (file.sha256, file.file_bytes, 3)


def test_maps_have_the_size_of_their_image(undisturbed):
    for key, (saliency, variance) in maps_of(undisturbed[0]).items():
        entry = make_entry(int(key))
        assert np.shape(saliency) == np.shape(variance) == (entry["height"], entry["width"])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_and_the_order_in_which_images_are_read_change_no_byte(
    healthy, tmp_path, monkeypatch, undisturbed, threads
):
    read_bytes, another_is_read, finished = reading.read_bytes, threading.Event(), []

    def read_first_image_late(sample, **limits):
        if threads > 1 and sample.key == KEYS[0]:
            assert another_is_read.wait(timeout=60)
        content = read_bytes(sample, **limits)
        finished.append(sample.key)
        if sample.key != KEYS[0]:
            another_is_read.set()
        return content

    monkeypatch.setattr(batches, "DECODE_THREADS", threads)
    monkeypatch.setattr(batches, "ENCODE_THREADS", threads)
    monkeypatch.setattr(reading, "read_bytes", read_first_image_late)
    process(healthy, tmp_path)
    assert (finished[0] == KEYS[0]) is (threads == 1)
    assert sorted(finished) == KEYS
    assert tree(tmp_path) == tree(undisturbed[0])


def test_nothing_is_stored_before_the_whole_shard_is_done_and_the_record_comes_last(healthy, tmp_path, monkeypatch):
    seen = []

    class WatchingModel(RecordingModel):
        def predict(self, images, keys):
            seen.append(sorted(tree(tmp_path)))
            return super().predict(images, keys)

    def create(url, content):
        seen.append(sorted(tree(tmp_path)))
        return storage_create(url, content)

    storage_create = storage.create
    monkeypatch.setattr(storage, "create", create)
    process(healthy, tmp_path, WatchingModel())
    assert seen[:3] == [[], [], []]
    assert sorted(name.partition(".")[0] + name[-4:] for name in seen[3]) == [
        "candidates/000000.tar",
        "candidates/000000quet",
    ]


# Side by side


def test_a_batch_is_encoded_while_the_model_predicts_the_next(healthy, tmp_path, monkeypatch, undisturbed):
    next_is_asked_for, encode_members = threading.Event(), work.encode_members

    def encode(row, prediction, **options):
        assert row.key != KEYS[0] or next_is_asked_for.wait(timeout=60)
        return encode_members(row, prediction, **options)

    class TellingModel(RecordingModel):
        def predict(self, images, keys):
            if keys[0] == KEYS[3]:
                next_is_asked_for.set()
            return super().predict(images, keys)

    monkeypatch.setattr(work, "encode_members", encode)
    process(healthy, tmp_path, TellingModel())
    assert tree(tmp_path) == tree(undisturbed[0])


def halves(inputs):
    """The same images as two shards."""
    samples = spec_of(inputs).samples
    return [ShardSpec(index=0, samples=samples[:5]), ShardSpec(index=1, samples=samples[5:])]


@pytest.fixture(scope="module")
def one_by_one(healthy, tmp_path_factory):
    """The files of both shards, made one after the other."""
    run = tmp_path_factory.mktemp("one-by-one")
    for spec in halves(healthy):
        process_shard(spec, RecordingModel(), make_work(run))
    return tree(run)


def side_by_side(inputs, run, model):
    """Process both shards in two threads, the first one ahead; returns their futures."""
    specs = halves(inputs)
    first_reads = threading.Event()
    slot = threading.Lock()

    class Watched:
        def __enter__(self):
            slot.acquire()
            first_reads.set()

        def __exit__(self, *_error):
            slot.release()

    shared = Shared(reading_slot=Watched())
    with ThreadPoolExecutor(2) as pool:
        calls = []
        for spec in specs:
            calls.append(pool.submit(process_shard, spec, model, make_work(run), shared=shared))
            assert first_reads.wait(timeout=60)
    return calls


def test_the_next_shard_is_read_before_the_current_one_ends_and_predicted_after_it(
    healthy, tmp_path, monkeypatch, one_by_one
):
    read_bytes, next_is_read, early, at_once = reading.read_bytes, threading.Event(), [], threading.Semaphore(1)

    class WaitingModel(RecordingModel):
        def predict(self, images, keys):
            assert at_once.acquire(blocking=False)
            if keys[0] == KEYS[0]:
                early.append(next_is_read.is_set())
            if keys[0] == KEYS[3]:  # the last batch of the first shard
                assert next_is_read.wait(timeout=60)
                time.sleep(0.2)  # the second shard has time to come in between
            at_once.release()
            return super().predict(images, keys)

    def read(sample, **limits):
        if sample.key == KEYS[5]:
            next_is_read.set()
        return read_bytes(sample, **limits)

    monkeypatch.setattr(reading, "read_bytes", read)
    model = WaitingModel()
    for call in side_by_side(healthy, tmp_path, model):
        call.result()
    assert model.batches == [KEYS[:3], KEYS[3:5], KEYS[5:8], KEYS[8:]]
    assert early == [False]
    assert tree(tmp_path) == one_by_one


def test_a_shard_is_committed_while_the_model_predicts_the_next(healthy, tmp_path, monkeypatch, one_by_one):
    next_is_predicted, commit_shard = threading.Event(), work.commit_shard

    def commit(run, shard, *content, **options):
        assert shard != "000000" or next_is_predicted.wait(timeout=60)
        return commit_shard(run, shard, *content, **options)

    class TellingModel(RecordingModel):
        def predict(self, images, keys):
            if keys[-1] == KEYS[8]:
                next_is_predicted.set()
            return super().predict(images, keys)

    monkeypatch.setattr(work, "commit_shard", commit)
    for call in side_by_side(healthy, tmp_path, TellingModel()):
        call.result()
    assert tree(tmp_path) == one_by_one


@pytest.mark.parametrize("where", ["read_bytes", "encode_members", "commit_shard", "predict"])
def test_a_shard_that_fails_gives_its_slots_back(healthy, tmp_path, monkeypatch, one_by_one, where):
    class FailingModel(RecordingModel):
        def predict(self, images, keys):
            if where == "predict" and KEYS[3] in keys:
                raise OSError(errno.EIO, "I/O error")
            return super().predict(images, keys)

    def failing(function):
        def call(*args, **kwargs):
            if "000000" in args or getattr(args[0], "key", "") == KEYS[3]:
                raise OSError(errno.EIO, "I/O error")
            return function(*args, **kwargs)

        return call

    if where != "predict":
        module = reading if where == "read_bytes" else work
        monkeypatch.setattr(module, where, failing(getattr(module, where)))
    first, second = side_by_side(healthy, tmp_path, FailingModel())
    with pytest.raises(OSError, match="I/O error"):
        first.result()
    second.result()
    assert tree(tmp_path) == {name: content for name, content in one_by_one.items() if "000001" in name}


def test_the_seconds_of_a_shard_leave_out_its_neighbour(healthy, tmp_path, monkeypatch):
    now = [0.0]

    class SlowModel(RecordingModel):
        def predict(self, images, keys):
            now[0] += 100 if keys[0] in KEYS[:5] else 1
            return super().predict(images, keys)

    monkeypatch.setattr(shards, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    first, second = side_by_side(healthy, tmp_path, SlowModel())
    assert 200 <= first.result().seconds <= 202
    assert second.result().seconds == 2


# Faults


@pytest.mark.parametrize(("reason", "before", "after"), BAD_IMAGES, ids=name_of)
def test_a_bad_image_is_one_failed_row_and_the_others_are_unchanged(tmp_path, undisturbed, reason, before, after):
    inputs = make_collection(tmp_path / "in", COUNT)
    before(inputs)
    spec = spec_of(inputs)
    after(inputs)
    rows = process_shard(spec, RecordingModel(), make_work(tmp_path / "run")).rows
    assert [row.key for row in rows] == KEYS
    assert [row for row in rows if row.status == "failed"] == [rows[4]]
    assert (rows[4].reason, rows[4].members, rows[4].scores) == (reason, 0, {})
    assert rows[4].detail
    assert str(tmp_path) not in rows[4].detail
    healthy_run, healthy_rows = undisturbed
    assert [*rows[:4], *rows[5:]] == [*healthy_rows[:4], *healthy_rows[5:]]
    others = {key: maps for key, maps in maps_of(healthy_run).items() if key != KEYS[4]}
    assert maps_of(tmp_path / "run") == others


@pytest.mark.parametrize("most_px", [1, 2000])
def test_batches_of_large_images_are_smaller_and_a_retry_cuts_them_alike(healthy, tmp_path, most_px, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BATCH_PIXELS", most_px)
    samples = spec_of(healthy).samples
    cut = [[sample.key for sample in batch] for batch in reading.cut_into_batches(samples, BATCH_IMAGES)]
    model = RecordingModel()
    rows = process(healthy, tmp_path / "run", model).rows
    assert model.batches == cut
    assert len(cut) > -(-COUNT // BATCH_IMAGES)
    broken = cut[1][0]
    process(healthy, tmp_path / "again", RecordingModel({broken}))
    retried = RecordingModel()
    assert process(healthy, tmp_path / "again", retried, retry_failed=True).rows == rows
    assert retried.batches == [cut[1]]


def test_every_reason_for_failure_is_among_these_tests():
    elsewhere = {"model_output", "model_memory", "kills_replica"}
    on_the_web = {"unsafe_address", "opted_out"}  # tests/pipeline/files/test_web.py
    of_passes = {
        "no_candidate",
        "image_changed",
        "pass_output",
        "no_members",
        "no_witness",
        "no_vector",
    }  # tests/pipeline/passes/test_scoring.py
    assert {reason for reason, *_ in BAD_IMAGES} | elsewhere | on_the_web | of_passes == FAILURE_REASONS


def test_the_digest_of_an_image_that_was_read_but_failed_is_in_its_row(tmp_path):
    inputs = make_collection(tmp_path / "in", COUNT)
    text_as_image(inputs)
    other_size(inputs)
    gone_too = inputs.file(6)
    gone_too.unlink()
    rows = process(inputs, tmp_path / "run").rows
    assert rows[4].image_sha256 == storage.stored_file_at(inputs.file(5)).sha256
    assert rows[4].image_bytes == 22
    assert (rows[5].image_sha256, rows[5].image_bytes) == ("", 0)


def test_an_invalid_prediction_fails_only_its_image_and_the_rest_of_the_batch_is_predicted_alone(healthy, tmp_path):
    model = RecordingModel(broken=[KEYS[4]])
    rows = process(healthy, tmp_path, model).rows
    assert [(row.key, row.reason) for row in rows if row.status == "failed"] == [(KEYS[4], "model_output")]
    assert KEYS[4] in rows[4].detail
    assert rows[4].image_sha256 == storage.stored_file_at(healthy.file(5)).sha256
    assert model.batches == [KEYS[:3], KEYS[3:6], [KEYS[3]], [KEYS[4]], [KEYS[5]], KEYS[6:]]


def test_an_image_too_large_for_the_device_fails_alone_and_the_others_are_unchanged(healthy, tmp_path, undisturbed):
    class SmallModel(RecordingModel):
        def predict(self, images, keys):
            if KEYS[4] in keys:
                raise ModelMemoryError("one ensemble member of 24 x 20 px takes about 9.0 GiB, 1.0 GiB are free")
            return super().predict(images, keys)

    rows = process(healthy, tmp_path, SmallModel()).rows
    assert [(row.key, row.status, row.reason) for row in rows if row.status != "done"] == [
        (KEYS[4], "failed", "model_memory")
    ]
    assert rows[4].detail == f"key {KEYS[4]}: one ensemble member of 24 x 20 px takes about 9.0 GiB, 1.0 GiB are free"
    assert maps_of(tmp_path) == {key: maps for key, maps in maps_of(undisturbed[0]).items() if key != KEYS[4]}


def test_where_memory_ran_short_rows_and_members_say_so(healthy, tmp_path):
    class ShortOfMemory(RecordingModel):
        def predict(self, images, keys):
            return [replace(prediction, fewer_at_once=2) for prediction in super().predict(images, keys)]

    result = process(healthy, tmp_path, model=ShortOfMemory())
    assert {row.fewer_at_once for row in result.rows} == {2}
    members = candidates.read_members(str(tmp_path), result.record)
    assert {json.loads(member["json"])["fewer_at_once"] for member in members.values()} == {2}


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), MemoryError(), ConnectionResetError()], ids=repr)
def test_an_error_that_may_pass_is_raised_and_the_shard_is_not_committed(
    healthy, tmp_path, monkeypatch, undisturbed, error
):
    read_bytes = reading.read_bytes

    def fail_once(sample, **limits):
        if sample.key == KEYS[7]:
            raise error
        return read_bytes(sample, **limits)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_bytes", fail_once)
        with pytest.raises(type(error)):
            process(healthy, tmp_path)
    assert_nothing_is_committed(tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("decode", "encode"))]
    process(healthy, tmp_path)
    assert tree(tmp_path) == tree(undisturbed[0])


def test_a_model_error_that_is_not_about_an_image_is_raised_and_nothing_is_committed(healthy, tmp_path):
    model = FakeModel(ensemble=EnsembleConfig(ensemble_size=3), raise_at=KEYS[4])
    with pytest.raises(RuntimeError, match=KEYS[4]):
        process(healthy, tmp_path, model)
    assert_nothing_is_committed(tmp_path)


def test_a_model_that_answers_for_too_few_images_commits_nothing(healthy, tmp_path):
    class ForgetfulModel(RecordingModel):
        def predict(self, images, keys):
            return super().predict(images, keys)[1:]

    with pytest.raises(ValueError, match="shorter"):
        process(healthy, tmp_path, ForgetfulModel())
    assert_nothing_is_committed(tmp_path)


def test_a_shard_of_bad_images_never_reaches_the_model(tmp_path):
    inputs = make_collection(tmp_path / "in", 2)
    for number in (1, 2):
        inputs.file(number).write_bytes(b"no image")
    model = RecordingModel()
    result = process(inputs, tmp_path / "run", model)
    assert (result.record.done, result.record.failed, model.batches) == (0, 2, [])
    assert json.loads(storage.read(f"{tmp_path}/run/commits/000000.json"))["failed"] == 2
