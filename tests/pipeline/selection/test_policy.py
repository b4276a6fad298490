"""Properties and examples of thresholds and splits as they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.selection.policy import SPLITS, Threshold, parse_splits, parse_threshold
from pipeline.selection.scores import SCORES


@given(st.sampled_from(SCORES), st.sampled_from(["<=", ">="]), st.floats(allow_nan=False, allow_infinity=False))
def test_a_threshold_says_what_was_written(score, sense, bound):
    for text in (f"{score}{sense}{bound!r}", f" {score} {sense} {bound!r} "):
        assert parse_threshold(text) == Threshold(score=score, sense=sense, bound=bound)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_score_passes_on_one_side_and_on_the_bound(value, bound):
    upper, lower = (Threshold(score="area", sense=sense, bound=bound) for sense in ("<=", ">="))
    assert upper.passes({"area": value}) == (value <= bound)
    assert lower.passes({"area": value}) == (value >= bound)
    assert upper.passes({"area": bound})
    assert lower.passes({"area": bound})


def test_a_score_that_is_unknown_passes_no_bound():
    assert not any(
        Threshold(score="instance_iou", sense=s, bound=0).passes({"instance_iou": None}) for s in ("<=", ">=")
    )


@pytest.mark.parametrize(
    "text", ["", "area", "area<0.5", "area<=", "area<=x", "area<=nan", "beauty>=1", "<=1", "area=1"]
)
def test_what_is_no_threshold_is_named(text):
    with pytest.raises(ValueError, match="threshold ") as caught:
        parse_threshold(text)
    assert repr(text) in str(caught.value)


@given(st.lists(st.sampled_from(SPLITS), min_size=1, max_size=3, unique=True), st.data())
def test_shares_of_splits_add_up_to_one(names, data):
    parts = data.draw(st.lists(st.integers(1, 100), min_size=len(names), max_size=len(names)))
    shares = {name: part / sum(parts) for name, part in zip(names, parts, strict=True)}
    assert parse_splits([f"{name}={share!r}" for name, share in shares.items()]) == shares


@pytest.mark.parametrize(
    "texts",
    [[], ["dev"], ["test", "test"], ["test=0.5"], ["train=0.5", "test=0.6"], ["train=0", "test"], ["test=x"],
     ["train=-1", "test=2"], ["train=nan", "test=1"]],
)  # fmt: skip
def test_splits_that_make_no_whole_are_refused(texts):
    with pytest.raises(ValueError, match="split"):
        parse_splits(texts)
