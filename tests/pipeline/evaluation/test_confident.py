"""What the default policy is wrongly sure of, and how much of it a score catches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.confident import LOST_SHARES, ConfidentlyWrong, confidently_wrong
from pipeline.evaluation.measures import ImageMeasures
from tests.pipeline.make import make_scores

IMAGES = st.lists(st.tuples(st.sampled_from(["wrong", "good", "rejected"]), st.integers(0, 6)), max_size=40).filter(
    lambda rows: {kind for kind, _ in rows} >= {"wrong", "good"}
)


def found_of(rows):
    kinds = np.array([kind for kind, _ in rows])
    return ConfidentlyWrong(wrong=kinds == "wrong", good=kinds == "good", highest_iou=0.5)


def measures_of(ious):
    return [ImageMeasures(empty_truth=False, constant_map=False, iou=iou) for iou in ious]


@given(IMAGES)
def test_no_bound_catches_more_without_losing_too_many(rows):
    bad = np.array([badness for _, badness in rows], dtype=np.float64)
    found = found_of(rows)
    for name, share in LOST_SHARES.items():
        possible = [
            int(np.count_nonzero(found.wrong & (bad > bound)))
            for bound in [-1, *sorted(set(bad))]
            if np.count_nonzero(found.good & (bad > bound)) <= share * found.good.sum() + 1e-9
        ]
        assert found.caught(bad)[name] == max(possible)


@given(IMAGES, st.randoms())
def test_the_order_of_images_and_the_scale_of_a_score_do_not_count(rows, random):
    shuffled = random.sample(rows, len(rows))
    first, second = (np.array([badness for _, badness in each], dtype=np.float64) for each in (rows, shuffled))
    assert found_of(rows).caught(first) == found_of(shuffled).caught(np.exp(second))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=40))
def test_the_worst_fifth_of_what_is_accepted_is_wrong(rows):
    scores = [make_scores(ensemble_variance=0.01 if accepted else 0.2) for accepted, _ in rows]
    found = confidently_wrong(scores, measures_of([iou / 100 for _, iou in rows]))
    accepted = np.array([accepted for accepted, _ in rows], dtype=bool)
    if accepted.sum() < 5:
        assert found is None
        return
    ious = np.array([iou / 100 for _, iou in rows])
    assert np.array_equal(found.wrong | found.good, accepted)
    assert found.wrong.sum() == accepted.sum() // 5
    assert ious[found.wrong].max() == found.highest_iou <= ious[found.good].min()


def test_twenty_good_images_may_lose_one_or_two():
    rows = [("good", number) for number in range(20)] + [("wrong", 18.5), ("wrong", 17.5), ("wrong", 3)]
    found = found_of(rows)
    assert found.caught(np.array([bad for _, bad in rows])) == {"lost_5_percent": 1, "lost_10_percent": 2}


@pytest.mark.parametrize("scores", [{}, make_scores(ensemble_variance=0.2)])
def test_without_accepted_images_or_ious_there_is_nothing_to_catch(scores):
    assert confidently_wrong([scores] * 9, measures_of([0.5] * 9)) is None
    assert confidently_wrong([make_scores()] * 9, measures_of([None] * 9)) is None


@pytest.mark.parametrize(("accepted", "wrong"), [(5, 1), (9, 1), (10, 2), (31, 6)])
def test_a_fifth_is_rounded_down(accepted, wrong):
    found = confidently_wrong([make_scores()] * accepted, measures_of([number / 40 for number in range(accepted)]))
    assert (found.wrong.sum(), found.good.sum(), found.highest_iou) == (wrong, accepted - wrong, (wrong - 1) / 40)
