"""Columns of passes: what is stored is read back, and nothing else is believed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.selection.columns import Text, Vector, columns_from, owned, stored_columns, table_with
from pipeline.selection.scores import SCORE_TABLE, Score

COLUMNS = st.one_of(
    st.builds(Score, name=st.just("a"), meaning=st.just("b"), worse_when=st.sampled_from(["high", "low"])),
    st.builds(Text, name=st.just("a"), meaning=st.just("b")),
    st.builds(Vector, name=st.just("a"), meaning=st.just("b"), length=st.integers(1, 65_536)),
)


@given(COLUMNS)
def test_what_is_stored_is_read_back(column):
    (kept,) = owned([column], "mine")
    assert columns_from(json.loads(json.dumps(stored_columns([kept])))) == (kept,)


def test_vectors_are_no_scores():
    assert table_with([Vector(name="v", meaning="m", length=3)]) == SCORE_TABLE


@pytest.mark.parametrize("length", [0, -1, 65_537])
def test_impossible_lengths_are_refused(length):
    with pytest.raises(ValueError, match=f"its length is {length}"):
        owned([Vector(name="v", meaning="m", length=length)], "mine")


@pytest.mark.parametrize("length", [True, "3", 3.0, None])
def test_lengths_that_are_no_whole_numbers_are_refused(length):
    with pytest.raises(ValueError, match="length is"):
        columns_from([{"name": "v", "meaning": "m", "of_pass": "p", "length": length}])
