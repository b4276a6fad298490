"""Batches read ahead of the model, predicted so that one bad image costs only itself, finished behind it."""

import errno
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.prediction import ModelMemoryError, ModelOutputError
from pipeline.replicas import batches
from pipeline.replicas.batches import BATCHES_AHEAD, DECODE_THREADS, finish_behind, predict_batch, read_ahead

KEYS = ["a", "b", "c", "d"]
REASONS = {ModelOutputError: "model_output", ModelMemoryError: "model_memory"}


class Model:
    """Answers with the key of each image; raises for those in `broken`. Records every call."""

    device_kind = "cpu"

    def __init__(self, broken=()):
        self.broken = dict(broken)
        self.asked = []

    def predict(self, images, keys):
        self.asked.append(list(keys))
        for key in keys:
            if key in self.broken:
                raise self.broken[key](f"not {key}")
        return [f"{key} of {image.sum()}" for key, image in zip(keys, images, strict=True)]


def make_pixels(keys):
    return {key: np.full((1, 1, 3), KEYS.index(key), np.uint8) for key in keys}


def doubled(number):
    return 2 * number


def decoding_threads():
    return threads_of("decode")


def threads_of(name):
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


# Properties


@settings(max_examples=50)
@given(st.integers(0, 30), st.integers(1, 8))
def test_everything_is_read_once_and_comes_in_order_in_batches_cut_by_position(count, batch_images):
    read = list(read_ahead(range(count), doubled, batch_images))
    assert [number for batch in read for number in batch] == [2 * number for number in range(count)]
    assert all(len(batch) == batch_images for batch in read[:-1])
    assert not read or 1 <= len(read[-1]) <= batch_images


@settings(max_examples=30)
@given(st.integers(0, 30), st.integers(1, 8))
def test_never_more_is_read_than_the_batches_ahead_of_the_caller(count, batch_images):
    begun = []
    for number, _batch in enumerate(read_ahead(range(count), begun.append, batch_images), start=1):
        assert len(begun) <= (number + BATCHES_AHEAD) * batch_images


@settings(max_examples=50)
@given(st.integers(0, 30), st.integers(0, 8))
def test_everything_is_finished_once_and_comes_in_order_never_further_behind_than_allowed(count, most_behind):
    finished = []

    def items():
        for number in range(count):
            assert len(finished) >= number - most_behind
            yield number

    found = list(finish_behind(items(), lambda number: finished.append(number) or 2 * number, most_behind))
    assert found == [2 * number for number in range(count)]
    assert sorted(finished) == list(range(count))


@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(list(REASONS))), st.sets(st.sampled_from(KEYS)))
def test_when_images_break_a_batch_the_others_are_still_predicted(broken, keys):
    keys = sorted(keys)
    outcomes = predict_batch(Model(broken), make_pixels(keys))
    assert list(outcomes) == keys
    for key, outcome in outcomes.items():
        if key in broken:
            assert (outcome.reason, outcome.detail) == (REASONS[broken[key]], f"key {key}: not {key}")
        else:
            assert outcome == f"{key} of {3 * KEYS.index(key)}"


# Examples


def test_reading_continues_while_the_caller_works():
    all_read = threading.Event()

    def read(number):
        if number == 2:
            all_read.set()
        return number

    reading = read_ahead(range(3), read, 1)
    assert next(reading) == [0]
    assert all_read.wait(timeout=60)  # the caller has asked for none of the others yet
    assert list(reading) == [[1], [2]]


def test_files_are_read_in_threads_of_their_own_which_end_with_the_reading():
    names = [name for batch in read_ahead(range(9), lambda _: threading.current_thread().name, 2) for name in batch]
    assert all(name.startswith("decode") for name in names)
    assert len(set(names)) <= DECODE_THREADS
    assert not decoding_threads()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 50_000_000), max_size=20), st.integers(1, 4))
def test_whatever_their_sizes_all_images_are_read_in_order(sizes, batch_images):
    read = list(read_ahead(sizes, lambda size: size, batch_images, lambda size: size))
    assert [size for batch in read for size in batch] == sizes


def test_beyond_the_pixels_that_may_wait_only_the_callers_batch_is_read(monkeypatch):
    monkeypatch.setattr(batches, "MOST_PIXELS_AHEAD", 10)
    begun, third = [], threading.Event()

    def read(number):
        begun.append(number)
        if len(begun) == 3:
            third.set()
        return number

    reading = read_ahead(range(6), read, 1, lambda _: 11)
    assert next(reading) == [0]
    assert not third.wait(0.3), "of the batches ahead, at most one can have begun before the first was read"
    assert list(reading) == [[number] for number in range(1, 6)]
    assert sorted(begun) == list(range(6))


def test_a_caller_that_goes_away_ends_reading_that_waits(monkeypatch):
    monkeypatch.setattr(batches, "MOST_PIXELS_AHEAD", 0)
    reading = read_ahead(range(9), doubled, 1, lambda _: 5)
    next(reading)
    reading.close()
    assert not decoding_threads()


def test_all_threads_are_there_before_the_first_image_is_read():
    """Later, images may have taken the memory that a thread needs."""
    at_first = []
    reading = read_ahead(range(3), lambda _: at_first.append(len(decoding_threads())), 1)
    next(reading)
    assert at_first[0] == DECODE_THREADS
    reading.close()


def test_a_thread_that_can_not_start_ends_the_reading_and_the_others(monkeypatch):
    start, started = threading.Thread.start, []

    def start_one(thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        next(read_ahead(range(3), doubled, 1))
    started[0].join(timeout=60)
    assert not decoding_threads()


@pytest.mark.parametrize("interrupted", [0, 1, 2])
@pytest.mark.parametrize(
    "begin", [lambda: read_ahead(range(3), doubled, 1), lambda: finish_behind(range(3), doubled, 1)]
)
def test_ctrl_c_while_the_threads_start_leaves_none_that_waits_for_the_others(monkeypatch, begin, interrupted):
    """A run that was interrupted there once never ended: the first thread waited for a second one."""
    submit, submitted = ThreadPoolExecutor.submit, []

    def submit_one(pool, *work):
        if len(submitted) == interrupted:
            raise KeyboardInterrupt
        submitted.append(submit(pool, *work))
        return submitted[-1]

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_one)
    ended = []

    def interrupt():
        with pytest.raises(KeyboardInterrupt):
            next(begin())
        ended.append(True)

    # A daemon: a failure must not keep this process from ending.
    caller = threading.Thread(target=interrupt, daemon=True)
    caller.start()
    caller.join(timeout=20)
    assert ended
    assert not decoding_threads()
    assert not threads_of("encode")


def test_finishing_continues_while_the_next_item_is_made():
    first_is_finished = threading.Event()

    def items():
        yield 1
        assert first_is_finished.wait(timeout=60)  # while the second one is being made
        yield 2

    def finish(number):
        first_is_finished.set()
        return number, threading.current_thread().name

    found = list(finish_behind(items(), finish, 1))
    assert [number for number, _ in found] == [1, 2]
    assert all(name.startswith("encode") for _, name in found)
    assert not threads_of("encode")


def test_with_nothing_left_behind_each_item_is_finished_before_the_next_is_made():
    events = []

    def items():
        for number in range(4):
            events.append(("made", number))
            yield number

    list(finish_behind(items(), lambda number: events.append(("finished", number)), 0))
    assert events == [(kind, number) for number in range(4) for kind in ("made", "finished")]


def test_a_batch_without_images_never_reaches_the_model():
    model = Model()
    assert predict_batch(model, {}) == {}
    assert model.asked == []


def test_a_good_batch_is_predicted_together_and_a_broken_one_image_by_image():
    good, broken = Model(), Model({"b": ModelOutputError})
    for model in (good, broken):
        predict_batch(model, make_pixels(KEYS))
    assert good.asked == [KEYS]
    assert broken.asked == [KEYS, ["a"], ["b"], ["c"], ["d"]]


# Faults


def test_an_error_of_reading_is_raised_when_its_batch_is_due_and_the_threads_end():
    def read(number):
        if number == 5:
            raise OSError(errno.EIO, "I/O error")
        return number

    got = []
    with pytest.raises(OSError, match="I/O error"):
        got.extend(read_ahead(range(9), read, 2))
    assert got == [[0, 1], [2, 3]]
    for thread in decoding_threads():
        thread.join(timeout=60)
    assert not decoding_threads()


def test_after_an_error_no_more_is_read_than_was_begun(monkeypatch):
    begun, closing = [], threading.Event()

    class ClosingPool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            closing.set()
            super().shutdown(wait=wait)

    def fail_first(number):
        begun.append(number)
        if number == 0:
            raise OSError(errno.EIO, "I/O error")
        closing.wait(timeout=60)

    monkeypatch.setattr(batches, "ThreadPoolExecutor", ClosingPool)
    with pytest.raises(OSError, match="I/O error"):
        list(read_ahead(range(9), fail_first, 3))
    assert len(begun) <= 1 + DECODE_THREADS


def test_a_caller_that_goes_away_leaves_no_threads_behind():
    reading = read_ahead(range(100), doubled, 2)
    next(reading)
    reading.close()
    assert not decoding_threads()


def test_an_error_of_finishing_is_raised_in_the_place_of_its_item_and_the_threads_end():
    def fail_third(number):
        if number == 2:
            raise OSError(errno.ENOSPC, "disk full")
        return number

    got = []
    with pytest.raises(OSError, match="disk full"):
        got.extend(finish_behind(range(9), fail_third, 3))
    assert got == [0, 1]
    assert not threads_of("encode")


def test_an_error_of_making_items_is_raised_and_the_threads_end():
    def items():
        yield 1
        raise RuntimeError("told so")

    with pytest.raises(RuntimeError, match="told so"):
        list(finish_behind(items(), doubled, 3))
    assert not threads_of("encode")


def test_a_caller_that_goes_away_leaves_nothing_to_be_finished():
    finishing = finish_behind(range(100), doubled, 2)
    next(finishing)
    finishing.close()
    assert not threads_of("encode")


@pytest.mark.parametrize("error", [RuntimeError, OSError, MemoryError, KeyError])
def test_an_error_that_is_not_about_an_image_is_raised(error):
    model = Model({"b": error})
    with pytest.raises(error, match="not b"):
        predict_batch(model, make_pixels(KEYS))
    assert model.asked == [KEYS]


def test_a_model_that_answers_for_too_few_images_is_refused():
    class ForgetfulModel(Model):
        def predict(self, images, keys):
            return super().predict(images, keys)[1:]

    with pytest.raises(ValueError, match="shorter"):
        predict_batch(ForgetfulModel(), make_pixels(KEYS))
