"""Images that kill their process: found within three deaths each, skipped, recorded, and nothing else is lost."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import EnsembleConfig
from model.fake import FakeModel
from pipeline.files import storage
from pipeline.records import ShardSpec
from pipeline.replicas import work as work_module
from pipeline.replicas.failures import Death, Failures, GiveUp, Retry
from pipeline.replicas.hands import Free, Hand, Waiting
from pipeline.replicas.journal import collect, forget, note, noted
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.suspects import Caution, Suspicion
from pipeline.replicas.work import process_shard
from pipeline.runs.candidates import read_members
from pipeline.runs.commits import read_shard_record
from pipeline.runs.plan import plan_shards
from tests.pipeline.make import make_collection, make_key, read_samples

pytestmark = pytest.mark.usefixtures("fast_disk")

COUNT = 7
ATTEMPTS = 3


class Died(BaseException):
    """The process is gone; nothing in it can catch that."""


class DeadlyModel:
    """The fake model, whose process dies at some keys: alone, or whenever they are in a batch."""

    device_kind = "cpu"

    def __init__(self, poison):
        self.model = FakeModel(ensemble=EnsembleConfig(ensemble_size=3))
        self.poison = set(poison)

    def predict(self, images, keys):
        if self.poison & set(keys):
            raise Died
        return self.model.predict(images, keys)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    inputs = make_collection(tmp_path_factory.mktemp("in") / "in", COUNT)
    return ShardSpec(index=0, samples=tuple(read_samples(str(inputs.annotations), str(inputs.images)).samples))


def make_failures(shard_attempts=ATTEMPTS):
    return Failures(shard_attempts=shard_attempts)


def make_work(run, batch_images=3):
    return ShardWork(run=str(run), batch_images=batch_images, max_image_bytes=1 << 20, max_image_pixels=1 << 20)


def drive(spec, model, work):
    """What the dispatcher does with a shard: result, and deaths."""
    suspicion, deaths = Suspicion(), 0
    while True:
        try:
            return process_shard(spec, model, work, caution=suspicion.caution), deaths
        except Died:
            deaths += 1
            before = suspicion.caution
            suspicion = suspicion.after_death(noted(work.run, spec.name) if before.noted else ())
            assert suspicion.deaths < ATTEMPTS


@given(st.sets(st.integers(1, COUNT)), st.integers(1, COUNT))
@settings(max_examples=40, deadline=None)
def test_images_that_kill_are_found_and_the_others_are_predicted(spec, tmp_path_factory, poison, batch_images):
    work = make_work(tmp_path_factory.mktemp("run"), batch_images)
    result, deaths = drive(spec, DeadlyModel(map(make_key, poison)), work)
    assert {int(row.key) for row in result.rows if row.reason == "kills_replica"} == poison
    assert [int(row.key) for row in result.rows] == list(range(1, COUNT + 1))
    assert deaths <= ATTEMPTS * len(poison)
    members = read_members(work.run, read_shard_record(work.run, spec.name))
    assert [int(key) for key in members] == sorted(set(range(1, COUNT + 1)) - poison)
    assert storage.list_names(f"{work.run}/journal") == []


@given(st.integers(1, COUNT))
@settings(max_examples=10, deadline=None)
def test_care_changes_no_byte(spec, tmp_path_factory, batch_images):
    folders = [tmp_path_factory.mktemp("care") for _ in range(2)]
    records = [
        process_shard(spec, DeadlyModel([]), make_work(folder, batch_images), caution=caution).record
        for folder, caution in zip(
            folders,
            [Caution(), Caution(noted=True, alone=frozenset(sample.key for sample in spec.samples))],
            strict=True,
        )
    ]
    assert records[0] == records[1]


def test_an_image_that_kills_during_decoding_is_found_too(spec, tmp_path, monkeypatch):
    def deadly(sample, work, real=work_module.read_image):
        if sample.key == make_key(5):
            raise Died
        return real(sample, work)

    monkeypatch.setattr(work_module, "read_image", deadly)
    result, deaths = drive(spec, DeadlyModel([]), make_work(tmp_path))
    assert [int(row.key) for row in result.rows if row.status == "failed"] == [5]
    assert deaths == ATTEMPTS


def test_images_that_kill_only_together_are_not_blamed_one_by_one(spec, tmp_path):
    class Together(DeadlyModel):
        def predict(self, images, keys):
            if len(self.poison & set(keys)) == 2:
                raise Died
            return self.model.predict(images, keys)

    with pytest.raises(AssertionError):  # of `drive`: the attempts are used up
        drive(spec, Together([make_key(4), make_key(5)]), make_work(tmp_path))


def test_a_death_that_comes_once_leaves_no_trace(spec, tmp_path):
    model = DeadlyModel([make_key(2)])
    quiet = process_shard(spec, DeadlyModel([]), make_work(tmp_path / "quiet")).record
    with pytest.raises(Died):
        process_shard(spec, model, make_work(tmp_path / "run"))
    model.poison.clear()
    caution = Suspicion().after_death(()).caution
    assert caution == Caution(noted=True)
    assert process_shard(spec, model, make_work(tmp_path / "run"), caution=caution).record == quiet


# Two shards in hand


def after_death(failures, run, lost, said="killed"):
    """What the cluster does with the shards that a dead replica had in hand."""
    in_work = collect(str(run), [spec.name for spec in lost])
    return failures.after_death(Death(lost=tuple(lost), in_work=in_work, node="a", at_s=0, said=said), is_sure=True)


def work_on(specs, cautions, work, poison, decoding):
    """What a replica does with the shards in its hand until it is done with the first one, or dies.

    Args: decoding: poison kills while it is decoded, that of the next shard while the first one is in work.
    """
    touched = [sample.key for spec in specs for sample in spec.samples]
    if decoding and not cautions[0].noted and poison & set(touched):
        raise Died
    return process_shard(specs[0], DeadlyModel(poison), work, cautions[0])


@given(st.sets(st.integers(1, COUNT), max_size=3), st.booleans(), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_with_several_shards_in_hand_only_guilty_images_are_found(spec, tmp_path_factory, poison, decoding, shard_size):
    """Does what the dispatcher does, with one replica that is replaced when it dies."""
    run = str(tmp_path_factory.mktemp("run"))
    specs = plan_shards(spec.samples, shard_size)
    failures, hand, free, results = make_failures(), Hand(replica="r", is_ready=True), Free(), {}
    waiting = Waiting(specs, failures.needs_care)
    free.note(hand, failures.needs_care)
    deadly, deaths = set(map(make_key, poison)), 0
    while waiting or hand.shards:
        for _, shard in free.handouts(waiting, ready=1):
            hand.shards[shard.name] = shard
            free.note(hand, failures.needs_care)
        in_hand = list(hand.shards.values())
        cautions = [failures.caution(shard) for shard in in_hand]
        try:
            result = work_on(in_hand, cautions, make_work(run), deadly, decoding)
        except Died:
            deaths += 1
            decision = after_death(failures, run, in_hand)
            assert not isinstance(decision, GiveUp), "an innocent shard has used up its attempts"
            waiting.put_back(decision.shards)
            hand.shards.clear()
        else:
            results[in_hand[0].name] = result
            del hand.shards[in_hand[0].name]
        free.note(hand, failures.needs_care)
    skipped = {int(row.key) for result in results.values() for row in result.rows if row.reason == "kills_replica"}
    assert skipped == poison
    assert sorted(results) == [shard.name for shard in specs]
    assert deaths <= ATTEMPTS * len(poison)
    assert storage.list_names(f"{run}/journal") == []


def test_after_a_death_with_two_shards_in_hand_both_are_handled_with_care_and_no_image_is_blamed(spec, tmp_path):
    first, second = plan_shards(spec.samples[:4], 2)
    failures = make_failures()
    assert after_death(failures, tmp_path, [first, second]) == Retry(shards=(first, second))
    assert failures.caution(first) == failures.caution(second) == Caution(noted=True)
    # What the second one dies of, alone and twice, is never the first one's.
    for _ in range(2):
        note(str(tmp_path), second.name, [second.samples[0].key])
        decision = after_death(failures, tmp_path, [second])
    assert decision == Retry(shards=(second,), guilty=(second.samples[0].key,))
    assert failures.caution(first) == Caution(noted=True)


def test_if_one_death_is_too_many_all_shards_in_hand_are_named(spec, tmp_path):
    first, second = plan_shards(spec.samples[:4], 2)
    decision = after_death(make_failures(shard_attempts=1), tmp_path, [first, second])
    assert isinstance(decision, GiveUp)
    assert decision.reason.startswith("shard 000000 or 000001 lost its replica 1 times, the last time at the keys")


def test_with_care_only_noted_images_are_in_work(spec, tmp_path, monkeypatch):
    """Whatever is read, predicted or encoded: it is in the journal at that moment."""
    touched = []

    def watched(function, key_of):
        def call(*args):
            if function is encode:
                time.sleep(0.05)  # whoever does not wait for it has noted the next batch by then
            in_work = noted(str(tmp_path), spec.name)
            touched.append((function, set(key_of(*args)) <= set(in_work), len(in_work)))
            return function(*args)

        return call

    model, encode = DeadlyModel([]), work_module._Predict.encode
    predict = model.predict
    monkeypatch.setattr(model, "predict", watched(predict, lambda _images, keys: keys))
    monkeypatch.setattr(work_module, "read_image", watched(work_module.read_image, lambda sample, _: [sample.key]))
    monkeypatch.setattr(
        work_module._Predict, "encode", watched(encode, lambda _errand, read, _found: [read.sample.key])
    )
    alone = spec.samples[4].key
    process_shard(spec, model, make_work(tmp_path), Caution(noted=True, alone=frozenset({alone})))
    assert [function for function, *_ in touched].count(encode) == len(spec.samples)
    assert all(is_noted for _, is_noted, _ in touched)
    assert (predict, True, 1) in touched


# The journal


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    if request.param == "disk":
        yield str(tmp_path)
        return
    yield "memory://journal"
    storage.remove_tree("memory://journal")


def test_the_last_note_is_read_until_it_is_forgotten(place):
    assert noted(place, "000001") == ()
    forget(place, "000001")
    note(place, "000001", ["a", "b"])
    note(place, "000001", ["c"])
    assert noted(place, "000001") == ("c",)
    assert noted(place, "000002") == ()
    forget(place, "000001")
    assert noted(place, "000001") == ()


def test_an_image_is_not_blamed_for_one_death():
    """A process that is killed from outside may have been at any image, alone in its batch or not."""
    suspicion = Suspicion().after_death(()).after_death(["a"])
    assert (suspicion.deaths, suspicion.caution.skipped) == (2, frozenset())
    assert suspicion.after_death(["b"]).caution.skipped == frozenset()
    assert suspicion.after_death(["a"]).caution.skipped == {"a"}


def test_finding_a_guilty_image_starts_the_count_again():
    suspicion = Suspicion().after_death(()).after_death(["a", "b"])
    assert (suspicion.deaths, suspicion.caution.alone) == (2, {"a", "b"})
    found = suspicion.after_death(["b"])
    assert (found.deaths, found.caution.skipped, found.caution.noted) == (0, {"b"}, True)
    assert found.after_death(["c", "d"]).deaths == 1


def test_a_replica_that_dies_before_it_begins_accuses_nobody(spec, tmp_path):
    failures = make_failures(shard_attempts=10)
    after_death(failures, tmp_path, [spec])
    note(str(tmp_path), spec.name, [make_key(4)])
    after_death(failures, tmp_path, [spec])
    assert after_death(failures, tmp_path, [spec], "killed while it started") == Retry(shards=(spec,))
    assert failures.caution(spec) == Caution(noted=True, alone=frozenset({make_key(4)}))
    note(str(tmp_path), spec.name, [make_key(4)])
    assert after_death(failures, tmp_path, [spec]) == Retry(shards=(spec,), guilty=(make_key(4),))
