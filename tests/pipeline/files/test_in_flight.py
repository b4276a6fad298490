"""Pixels in flight: threads share one budget, and a large image goes alone."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.in_flight import PixelBudget, budget, require_memory


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_images_in_flight_never_have_more_pixels_than_the_budget_unless_one_is_alone(sizes, threads):
    shared, lock = PixelBudget(20), threading.Lock()
    in_flight, seen = [], []

    def hold(pixels):
        with shared.taken(pixels):
            with lock:
                in_flight.append(pixels)
                seen.append(list(in_flight))
            with lock:
                in_flight.remove(pixels)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(hold, sizes))
    assert len(seen) == len(sizes)
    assert all(sum(together) <= 20 or len([size for size in together if size]) == 1 for together in seen)


@pytest.mark.parametrize(("pixels", "meet"), [(50, True), (51, False), (1000, False)])
def test_two_images_are_in_flight_together_only_if_there_is_room_for_both(pixels, meet):
    shared, barrier = PixelBudget(100), threading.Barrier(2)

    def hold(_):
        with shared.taken(pixels):
            try:
                barrier.wait(0.2 if not meet else 30)
            except threading.BrokenBarrierError:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(hold, range(2))) == [meet, meet]


def test_the_share_of_an_image_that_fails_is_given_back():
    shared = PixelBudget(10)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), shared.taken(10):
            raise ValueError("broken")
    with shared.taken(10):
        pass


def test_a_forked_process_has_a_budget_of_its_own():
    """A thread of the parent may have held the parent's, and does not exist in the child."""
    with budget().taken(budget().most):
        child = os.fork()
        if child == 0:
            free = budget()._in_flight == 0 and budget()._free.acquire(blocking=False)
            os._exit(0 if free else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_that_a_process_may_not_have_is_noticed_before_a_decoder_calls_its_lack_a_broken_image():
    require_memory(1 << 30)
    with pytest.raises(MemoryError, match="are not available"):
        require_memory(1 << 60)
