"""Work that stands still: named after its time, once, and never while it moves."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.replicas.stalls import StallWatch

AFTER_S = 10


def make_watch():
    now = [0.0]
    return StallWatch(AFTER_S, clock=lambda: now[0]), now


def test_work_that_stands_still_is_named_after_its_time_and_then_gets_the_same_time_again():
    watch, now = make_watch()
    named = []
    for second in range(35):
        now[0] = second
        if watch.stalled({"a": 3}):
            named.append(second)
    assert named == [10, 20, 30]


@given(st.lists(st.tuples(st.floats(0, AFTER_S - 0.5), st.booleans()), max_size=30))
def test_work_that_moves_is_never_named(steps):
    watch, now = make_watch()
    for count, (waited, answers) in enumerate(steps):
        for answer in ([None] if not answers else []) + [count]:
            now[0] += waited / 2
            assert watch.stalled({"a": answer}) == []


def test_no_answer_counts_as_no_progress():
    watch, now = make_watch()
    assert watch.stalled({"a": None, "b": 0}) == []
    now[0] = AFTER_S
    assert watch.stalled({"a": None, "b": 1}) == ["a"]


def test_an_answer_after_silence_counts_only_if_it_has_changed():
    watch, now = make_watch()
    watch.stalled({"a": 2})
    now[0] = 6
    assert watch.stalled({"a": None}) == []
    now[0] = AFTER_S
    assert watch.stalled({"a": 2}) == ["a"]


def test_new_work_gets_its_own_time():
    watch, now = make_watch()
    watch.stalled({"a": 0})
    now[0] = AFTER_S - 1
    assert watch.stalled({"a": 1, "b": 0}) == []
    now[0] = AFTER_S + 1
    assert watch.stalled({"b": 0}) == []
