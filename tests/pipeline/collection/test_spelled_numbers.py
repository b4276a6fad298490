"""Numbers as annotations and tables spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.spelled_numbers import whole_number


@given(st.integers(-(2**52), 2**52))
def test_a_whole_number_is_read_however_it_is_spelled(number):
    assert {whole_number(said) for said in (number, str(number), f" {number} ", float(number), f"{number}.0")} == {
        number
    }


@pytest.mark.parametrize("value", [None, True, 1.5, "1.5", "x", "", [1], {}, float("inf"), "nan", "1e999", 2.0**60])
def test_what_is_no_whole_number_is_none(value):
    assert whole_number(value) is None
