"""The reading slot: held while a shard reads, given back once its last batch is read, whatever the caller does."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.replicas import reading
from pipeline.replicas.reading import batches_ahead
from pipeline.replicas.setup import ShardWork


def make_work(batch_images):
    return ShardWork(run="memory://run", batch_images=batch_images, max_image_bytes=1, max_image_pixels=1)


@pytest.fixture(scope="module", autouse=True)
def items_are_read_as_they_are():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "read_image", lambda sample, work: sample)
        patch.setattr(reading, "pixel_count", lambda _: 0)
        yield


@given(st.integers(0, 12), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_the_slot_is_held_until_the_last_batch_is_read(count, batch_images):
    slot, read, held = threading.Lock(), [], []
    for batch in batches_ahead(range(count), make_work(batch_images), slot):
        read.extend(batch)
        held.append(slot.locked())
    assert read == list(range(count))
    assert held == [True] * (len(held) - 1) + [False] * bool(held)
    assert not slot.locked()


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_caller_that_goes_away_gives_the_slot_back(taken):
    slot = threading.Lock()
    batches = batches_ahead(range(12), make_work(3), slot)
    for _ in range(taken):
        next(batches)
    assert slot.locked() == (taken > 0)
    batches.close()
    assert not slot.locked()


def test_an_error_of_reading_gives_the_slot_back(monkeypatch):
    def fail(sample, work):
        raise OSError(5, "I/O error")

    monkeypatch.setattr(reading, "read_image", fail)
    slot = threading.Lock()
    with pytest.raises(OSError, match="I/O error"):
        next(batches_ahead(range(12), make_work(3), slot))
    assert not slot.locked()
