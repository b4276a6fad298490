"""The reading slot: held while a shard reads, given back once its last batch is read, whatever the caller does."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.replicas import reading
from pipeline.replicas.reading import MOST_BATCH_PIXELS, batches_ahead, cut_into_batches


def as_it_is(sample):
    return sample


@pytest.fixture(scope="module", autouse=True)
def items_are_read_as_they_are():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "pixel_count", lambda _: 0)
        patch.setattr(reading, "annotated_px", lambda sample: sample)
        yield


def batches_of(count, batch_images):
    return [range(start, min(start + batch_images, count)) for start in range(0, count, batch_images)]


@given(st.lists(st.integers(0, 120_000_000), max_size=20), st.integers(1, 5))
def test_batches_are_cut_by_number_and_by_annotated_pixels_and_are_as_large_as_they_may_be(sizes, batch_images):
    """In these tests, a sample is its size."""
    cut = cut_into_batches(sizes, batch_images)
    assert [size for batch in cut for size in batch] == sizes
    for batch, following in zip(cut, [*cut[1:], None], strict=False):
        assert 1 <= len(batch) <= batch_images
        assert sum(batch) <= MOST_BATCH_PIXELS or len(batch) == 1
        assert following is None or len(batch) == batch_images or sum(batch) + following[0] > MOST_BATCH_PIXELS


@given(st.integers(0, 12), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_the_slot_is_held_until_the_last_batch_is_read(count, batch_images):
    slot, read, held = threading.Lock(), [], []
    for batch in batches_ahead(batches_of(count, batch_images), as_it_is, slot):
        read.extend(batch)
        held.append(slot.locked())
    assert read == list(range(count))
    assert held == [True] * (len(held) - 1) + [False] * bool(held)
    assert not slot.locked()


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_caller_that_goes_away_gives_the_slot_back(taken):
    slot = threading.Lock()
    batches = batches_ahead(batches_of(12, 3), as_it_is, slot)
    for _ in range(taken):
        next(batches)
    assert slot.locked() == (taken > 0)
    batches.close()
    assert not slot.locked()


def test_an_error_of_reading_gives_the_slot_back():
    def fail(sample):
        raise OSError(5, "I/O error")

    slot = threading.Lock()
    with pytest.raises(OSError, match="I/O error"):
        next(batches_ahead(batches_of(12, 3), fail, slot))
    assert not slot.locked()
