"""Waiting for storage, with a clock that only sleeping moves: whatever storages do, and whenever."""

import errno
import logging
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Stopped, StorageUnavailableError
from pipeline.files import patience
from pipeline.files.outages import (
    FIRST_PAUSE_S,
    FORGOTTEN_S,
    LONGEST_PAUSE_S,
    Outages,
    StorageHealth,
    pause_s,
    place_of,
)
from pipeline.files.patience import Patience

URL = "s3://bucket/run/commits/000001.json"
SECONDS = st.floats(0, 1000)
CHANCES = st.floats(0, 1, exclude_max=True)


class World:
    """A clock, and a storage that is away at some times. A call takes `call_s`."""

    def __init__(self, away=(), call_s=0.0, chance=0.5):
        self.now, self.away, self.call_s = 0.0, away, call_s
        self.tried, self.slept = [], []
        self.patience = Patience(lambda: self.now, self.sleep, lambda: chance)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def is_away(self):
        return any(start <= self.now < end for start, end in self.away)

    def attempt(self):
        self.tried.append(self.now)
        self.now += self.call_s
        if self.is_away():
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        return "answer"

    def persist(self, seconds=600.0):
        with self.patience.lasting(seconds):
            return self.patience.persist(URL, self.attempt)

    @property
    def health(self):
        return self.patience.health()


def lines_of(call):
    """What the log says of storages while it is called."""
    lines = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())
    patience.log.addHandler(handler)
    level = patience.log.level
    patience.log.setLevel(logging.INFO)
    try:
        call()
    finally:
        patience.log.removeHandler(handler)
        patience.log.setLevel(level)
    return lines


# Properties


@given(st.integers(1, 10_000), CHANCES)
def test_pauses_grow_to_a_bound_and_differ_by_chance(tries, chance):
    pause = pause_s(tries, chance)
    assert FIRST_PAUSE_S / 2 <= pause <= LONGEST_PAUSE_S
    assert pause_s(tries + 1, chance) >= pause
    assert pause_s(tries, 0) <= pause <= 2 * pause_s(tries, 0)


@given(st.floats(0.01, 500), st.floats(500.1, 1000), st.floats(0, 20), CHANCES)
def test_an_outage_shorter_than_the_patience_is_outlasted(away_s, patience_s, call_s, chance):
    world = World([(0, away_s)], call_s, chance)
    assert world.persist(patience_s) == "answer"
    assert world.now <= max(away_s, call_s) + LONGEST_PAUSE_S + call_s + 1e-6
    failed = len(world.tried) - 1
    assert world.health == StorageHealth(errors=failed, away_s=0.0, outages=failed > 0)


@given(st.floats(0.1, 1000), st.floats(0, 50), CHANCES)
def test_a_longer_one_ends_the_call_once_the_patience_is_over(patience_s, call_s, chance):
    world = World([(0, float("inf"))], call_s, chance)
    with pytest.raises(
        StorageUnavailableError, match=r"000001.json: the storage has not responded for \d+ s"
    ) as raised:
        world.persist(patience_s)
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)
    assert patience_s + call_s <= world.now + 1e-6
    assert world.now <= patience_s + 2 * call_s + 1e-6  # the first call fails when it ends, and one is tried at the end
    assert world.health.errors == len(world.tried)


@given(st.lists(st.tuples(SECONDS, st.floats(0, 100)), max_size=8), st.integers(1, 12), CHANCES)
def test_whatever_a_storage_does_at_most_two_lines_tell_of_an_outage(outages, calls, chance):
    world = World([(start, start + length) for start, length in outages], chance=chance)
    lines = lines_of(lambda: [(world.persist(), world.sleep(60.0)) for _ in range(calls)])
    assert len(lines) <= 2 * len(outages)
    assert [line.split(" ")[1] for line in lines] == ["does", "responds"] * (len(lines) // 2)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.floats(0, 100)), max_size=30))
def test_a_storage_is_away_from_its_first_failure_to_its_next_answer(events):
    outages, now, away_since, heard = Outages(), 0.0, {}, {}
    for place, fails, later_s in events:
        now += later_s
        away_since = {name: since for name, since in away_since.items() if now - heard[name] <= FORGOTTEN_S}
        if fails:
            away_since.setdefault(place, now)
            heard[place] = now
            assert outages.failed(place, now).since == away_since[place]
        else:
            away_since.pop(place, None)
            outages.responded(place)
        away = [now - since for since in away_since.values()]
        assert outages.health(now).away_s == pytest.approx(max(away, default=0.0), abs=1e-6)
    assert outages.errors == sum(fails for _, fails, _ in events)


# Examples


def test_without_patience_a_failure_comes_at_once_and_as_it_is():
    world = World([(0, 10)])
    with pytest.raises(ConnectionRefusedError):
        world.persist(0.0)
    with pytest.raises(ConnectionRefusedError), world.patience.lasting(9.0), world.patience.none_here():
        world.patience.persist(URL, world.attempt)
    assert (world.slept, world.health.errors) == ([], 2)


def test_a_thread_that_did_not_wait_for_a_while_waits_as_the_session_does_again():
    world = World([(0, 100)])
    with world.patience.lasting(9.0), world.patience.none_here(), world.patience.none_here():
        pass
    assert world.persist() == "answer"


def test_an_answer_that_is_an_error_comes_at_once_and_ends_the_outage():
    world = World()

    def refuse():
        world.tried.append(world.now)
        raise ConnectionResetError if len(world.tried) < 3 else FileNotFoundError("no such key")

    with world.patience.lasting(60.0), pytest.raises(FileNotFoundError):
        world.patience.persist(URL, refuse)
    assert len(world.tried) == 3
    assert world.health == StorageHealth(errors=2, outages=1)


def test_one_line_tells_that_it_is_away_and_one_that_it_is_back():
    world = World([(0, 100)])
    away, back = lines_of(world.persist)
    assert away.startswith(
        "s3://bucket does not respond (ConnectionRefusedError: [Errno 111] refused); it is asked again"
    )
    assert away.endswith("for 600 s at most")
    assert back.startswith("s3://bucket responds again, after 1")
    assert lines_of(World([(0, 1)]).persist) == []


def test_no_line_and_no_error_shows_a_password():
    world = World([(0, float("inf"))])

    def persist():
        with world.patience.lasting(20.0), pytest.raises(StorageUnavailableError) as raised:
            world.patience.persist("https://me:Secret1@host/x?sig=Secret2", world.attempt)
        assert "Secret" not in str(raised.value)

    assert not any("Secret" in line for line in lines_of(persist))


def test_what_follows_a_wait_in_vain_does_not_wait_again():
    world = World([(0, float("inf"))])
    with world.patience.lasting(60.0):
        for _ in range(3):
            with pytest.raises(StorageUnavailableError):
                world.patience.persist(URL, world.attempt)
        assert 60 <= world.now < 61
        world.sleep(FORGOTTEN_S + 1)
        with pytest.raises(StorageUnavailableError):
            world.patience.persist(URL, world.attempt)
        assert world.now > 180  # long after, it is another outage


def test_a_session_begins_with_all_its_patience_whatever_was_away_before():
    world = World([(0, 100)])
    with pytest.raises(StorageUnavailableError):
        world.persist(60.0)
    assert world.persist(60.0) == "answer"


def test_the_next_try_has_not_the_last_failure_as_its_context():
    world = World()
    contexts = []

    def fail():
        error = ConnectionResetError()
        try:
            raise error
        except ConnectionResetError:
            contexts.append(error.__context__)
            raise

    with world.patience.lasting(5.0), pytest.raises(StorageUnavailableError):
        world.patience.persist(URL, fail)
    assert len(contexts) > 2
    assert set(contexts) == {None}


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (URL, "s3://bucket"),
        ("/mnt/nfs/run/x", "/mnt/nfs"),
        ("/x", "/x"),
        ("simplecache::s3://b/x.zip", "simplecache::s3://b"),
        ("memory://a/b", "memory://a"),
    ],
)
def test_a_place_is_a_bucket_a_host_or_the_top_of_a_path(url, place):
    assert place_of(url) == place


# Threads, and the end of a session


def in_thread(call):
    found = []

    def catch():
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001
            found.append(error)

    thread = threading.Thread(target=catch)
    thread.start()
    return thread, found


def test_the_end_of_a_session_ends_all_its_waits_and_those_that_come_after():
    waiting = threading.Barrier(3)
    world = Patience(sleep=lambda seconds: waiting.wait(10) if waiting.n_waiting < 3 and not ended.is_set() else None)
    ended = threading.Event()

    def away():
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with world.lasting(600.0):
        threads = [in_thread(lambda: world.persist("/mnt/nfs/x", away)) for _ in range(2)]
        waiting.wait(10)  # both wait
        ended.set()
        world.session.is_ended = True
        for thread, found in threads:
            thread.join(10)
            assert isinstance(found[0], Stopped)
        with pytest.raises(OSError, match="Stale"):
            world.persist("/mnt/nfs/x", away)


def test_who_still_waits_when_the_block_ends_is_sent_away():
    waits = threading.Event()
    world = Patience(sleep=lambda seconds: waits.set())

    def away():
        raise ConnectionResetError

    with world.lasting(600.0):
        thread, found = in_thread(lambda: world.persist(URL, away))
        assert waits.wait(10)
    thread.join(10)
    assert isinstance(found[0], Stopped)


def test_an_answer_to_one_thread_wakes_the_others():
    waits, is_back = threading.Event(), threading.Event()
    world = Patience(sleep=lambda seconds: (waits.set(), is_back.wait(10)))
    world._chance = lambda: 0.99

    def ask():
        if not is_back.is_set():
            raise ConnectionResetError
        return "answer"

    with world.lasting(600.0):
        thread, found = in_thread(lambda: world.persist(URL, ask))
        assert waits.wait(10)
        assert world.persist("s3://bucket/other", lambda: "there") == "there"
        is_back.set()
        thread.join(10)
    assert found == ["answer"]
    assert world.health() == StorageHealth(errors=1, outages=1)


def test_the_patience_of_the_process_lasts_for_its_block(monkeypatch):
    here = patience._OF_PROCESS.here
    before = here.session
    assert before.seconds == 0
    with patience.lasting(7.0):
        assert here.session.seconds == 7
        with patience.lasting(3.0):
            assert here.session.seconds == 3
        patience.end()
        assert here.session.is_ended
    assert here.session is before
    monkeypatch.setattr(here, "session", before)
    patience.begin(5.0)
    assert here.session.seconds == 5
    assert patience.persist(URL, lambda: 1) == 1
    assert patience.storage_health().away_s == 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_blocks_of_several_threads_leave_no_patience_behind_in_whatever_order_they_end(order):
    here = patience.Patience()
    before = here.session
    blocks = [here.lasting(seconds) for seconds in (5.0, 6.0, 7.0)]
    for block in blocks:
        block.__enter__()
    for number, place in enumerate(order):
        assert not here.session.is_ended, number
        blocks[place].__exit__(None, None, None)
    assert here.session is before
    assert before.seconds == 0


def test_one_failure_is_no_outage_that_is_known():
    world = World()
    known = []

    def away():
        known.append(world.patience.is_known_away("s3://bucket/other"))
        raise ConnectionResetError

    with world.patience.lasting(1.0), pytest.raises(StorageUnavailableError):
        world.patience.persist(URL, away)
    assert known[:3] == [False, False, True]
    assert not world.patience.is_known_away("s3://elsewhere/x")
