"""What a folder was made with against what is requested: every difference is named, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.made_with import Difference, differences, refusal

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=2)))
NAMES = st.text("abc", min_size=1, max_size=3)
VALUES = st.dictionaries(NAMES, st.one_of(LEAVES, st.dictionaries(NAMES, LEAVES)))


@given(VALUES)
def test_equal_values_do_not_differ(values):
    assert differences(values, dict(reversed(values.items()))) == []


@given(VALUES, NAMES, st.integers(), st.integers())
def test_one_changed_field_is_the_only_difference(values, name, stored, requested):
    found = differences(values | {name: stored}, values | {name: requested})
    expected = [Difference(name=name, stored=stored, requested=requested)] if stored != requested else []
    assert found == expected


@given(VALUES, VALUES)
def test_both_directions_name_the_same_fields(first, second):
    there = {found.name: (found.stored, found.requested) for found in differences(first, second)}
    back = {found.name: (found.requested, found.stored) for found in differences(second, first)}
    assert there == back
    flat = {name for values in (first, second) for name in values}
    assert {name.partition(".")[0] for name in there} <= flat


@pytest.mark.parametrize(
    ("stored", "requested", "line"),
    [
        ({"seed": 5}, {"seed": 6}, "seed: made with 5, requested 6"),
        ({"new": "1"}, {}, "new: made with 1, requested None"),
        ({}, {"new": "1"}, "new: made with None, requested 1"),
        ({"stops_by": ""}, {"stops_by": "a<=1"}, "stops_by: made with '', requested a<=1"),
        ({"policy": {"a": 1, "b": 2}}, {"policy": {"a": 1, "b": 3}}, "policy.b: made with 2, requested 3"),
        ({"policy": {}}, {"policy": {"a": 1}}, "policy.a: made with None, requested 1"),
        ({"sources": [{"sha": "x"}, {}]}, {"sources": [{"sha": "x"}]}, "sources.1: made with {}, requested None"),
        ({"sources": [{"sha": "x"}]}, {"sources": [{"sha": "y"}]}, "sources.0.sha: made with x, requested y"),
        ({"bounds": ["a<=1"]}, {"bounds": ["a<=2"]}, "bounds: made with ['a<=1'], requested ['a<=2']"),
        ({"b": ["a<=1", "c"]}, {"b": ["a<=2", "c"]}, "b: made with ['a<=1'], requested ['a<=2']; 1 more is equal"),
        ({"b": [1, 2, 3]}, {"b": [1, 2]}, "b: made with [3], requested []; 2 more are equal"),
        ({"b": [1, 1]}, {"b": [1]}, "b: made with [1], requested []; 1 more is equal"),
        ({"b": [1, 2]}, {"b": [2, 1]}, "b: made with [1, 2], requested [2, 1]"),
        ({"b": "x<=1, y<=2"}, {"b": "x<=1, y<=3"}, "b: made with y<=2, requested y<=3; 1 more is equal"),
        ({"b": "x<=1, y<=2"}, {"b": "x<=2, y<=3"}, "b: made with x<=1, y<=2, requested x<=2, y<=3"),
        ({"b": "x, y"}, {"b": "x, y, z"}, "b: made with '', requested z; 2 more are equal"),
        ({"policy": None}, {"policy": {"a": 1}}, "policy.a: made with None, requested 1"),
        ({"policy": {"a": 1}}, {}, "policy.a: made with 1, requested None"),
    ],
)
def test_a_difference_names_its_field_with_both_values(stored, requested, line):
    assert [str(found) for found in differences(stored, requested)] == [line]


def test_none_and_a_field_that_is_missing_are_the_same():
    assert differences({"swinb": None}, {}) == []


def test_a_refusal_says_what_it_is_about_names_the_fields_and_ends_with_what_to_do():
    found = differences({"b": 1, "a": "x" * 500}, {"b": 2, "a": ""})
    lines = refusal("/out was made with something else", found, "Give another --out").splitlines()
    assert lines[0] == "/out was made with something else:"
    assert lines[1] == f"  a: made with {'x' * 120}…, requested ''"
    assert lines[2:] == ["  b: made with 1, requested 2", "Give another --out"]


def test_long_values_are_shown_from_where_they_part():
    (found,) = differences({"a": "same" * 50 + "x"}, {"a": "same" * 50 + "y"})
    assert str(found) == "a: made with …x, requested …y"


def test_the_end_that_long_values_share_is_left_out():
    (found,) = differences({"a": "one" + "same" * 50}, {"a": "other" + "same" * 50})
    assert str(found) == "a: made with …ne…, requested …ther…"


ENTRIES = st.lists(st.sampled_from("abcdefgh"), max_size=6, unique=True)


@given(ENTRIES, ENTRIES)
def test_of_two_lists_only_the_entries_that_differ_are_shown(stored, requested):
    for found in differences({"x": stored}, {"x": requested}):
        shown = str(found).partition(";")[0].removeprefix("x: made with ")
        both = set(stored) & set(requested)
        if set(stored) != set(requested):
            assert not any(f"'{entry}'" in shown for entry in both)
            assert all(f"'{entry}'" in shown for entry in set(stored) ^ set(requested))
        assert (f"{len(both)} more" in str(found)) == (bool(both) and set(stored) != set(requested))


def test_a_refusal_of_many_fields_stays_readable():
    many = {f"f{number:03d}": number for number in range(100)}
    lines = refusal("/out", differences(many, {}), "Give another --out").splitlines()
    assert len(lines) == 43
    assert lines[-2:] == ["  and 60 more", "Give another --out"]
