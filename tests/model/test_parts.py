"""Parts that hold every member once."""

from hypothesis import given
from hypothesis import strategies as st

from model.parts import member_parts


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 80))
def test_parts_hold_every_member_once_in_order_and_never_one_without_its_image(images, members, at_once):
    parts = list(member_parts(images, members, at_once))
    places = range(images * members)
    assert [place for part in parts for place in places[part.members]] == list(places)
    for part in parts:
        own = places[part.members]
        assert 0 < len(own) <= at_once
        assert {place // members for place in own} == set(range(images)[part.images])
        whole = len(range(images)[part.images]) * members
        assert len(own) == whole or part.images.stop - part.images.start == 1
