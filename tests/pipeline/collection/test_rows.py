"""Properties and examples of the names of rows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collection.names import safe_name
from pipeline.collection.rows import RowNames, chosen
from pipeline.collection.telling import telling
from pipeline.collection.unannotated import key_and_id
from pipeline.errors import CollectionError, SampleError

SAID = st.one_of(
    st.none(), st.sampled_from(["a.jpg", "./a.jpg", "b/a.jpg", "t/a.jpg", "t/000000001", "../a", "a\n", ""])
)
TABLES = st.lists(st.tuples(st.sampled_from("tuv"), st.lists(SAID, max_size=6)), max_size=4, unique_by=lambda t: t[0])


def named(tables, wanted=()):
    names = RowNames(wanted)
    for table, rows in tables:
        names.add(table, rows)
    return names


@given(TABLES)
def test_every_row_has_a_name_of_its_own_that_stays_in_its_folder(tables):
    names = named(tables)
    assert sorted(names.rows.values()) == list(range(sum(len(rows) for _, rows in tables)))
    for name, row in names.rows.items():
        assert safe_name(name) == name
        assert names.find(name) == row


@given(TABLES, st.lists(SAID, max_size=4), st.lists(SAID, max_size=4))
def test_names_stay_when_rows_and_tables_come_at_the_end(tables, more_rows, another):
    before = named(tables).rows
    grown = [*tables[:-1], *((table, rows + more_rows) for table, rows in tables[-1:]), ("z", another)]
    after = named(grown).rows
    assert {name: after[name] for name in before} == before


def test_keys_of_numbered_rows_are_in_the_order_of_the_rows_however_long_the_name_of_the_table():
    for table in ("train-00000-of-00001", "x" * 300):
        names = list(named([(table, [None] * 1200)]).rows)
        assert sorted(names) == names
        keys = [key_and_id(name)[0] for name in names]
        assert sorted(keys) == keys
        assert len(set(keys)) == 1200


def test_long_names_of_tables_that_begin_alike_are_told_apart():
    assert len(named([("x" * 300 + "1", [None]), ("x" * 300 + "2", [None])]).rows) == 2


def test_of_equal_names_the_first_keeps_it_and_others_get_their_tables_or_their_number():
    names = named([("t", ["a.jpg", "a.jpg"]), ("u", ["a.jpg", "a.jpg"])])
    assert list(names.rows) == ["a.jpg", "t/a.jpg", "u/a.jpg", "u/000000001"]


def test_an_annotated_name_that_two_rows_have_is_ambiguous():
    names = named([("t", ["a.jpg", "b.jpg"]), ("u", ["a.jpg"])], ["a.jpg", "b.jpg", "u/a.jpg"])
    assert (names.find("b.jpg"), names.find("u/a.jpg")) == (1, 2)
    with pytest.raises(SampleError, match=r"ambiguous, 2 rows match: \['a\.jpg', 'u/a\.jpg'\]"):
        names.find("a.jpg")


def test_a_name_that_only_ends_alike_is_not_among_those_that_are_ambiguous():
    names = named([("t", ["xa.jpg", "a.jpg"]), ("u", ["a.jpg"])], ["a.jpg"])
    with pytest.raises(SampleError, match=r"2 rows match: \['a\.jpg', 'u/a\.jpg'\]"):
        names.find("a.jpg")


def test_annotated_names_are_found_in_other_unicode_forms_and_without_folders():
    names = named(
        [("t", ["val/ä.jpg", "x/b.jpg", "y/b.jpg", "x/c.jpg"])], ["val/a\u0308.jpg", "c.jpg", "b.jpg", "d.jpg"]
    )
    assert (names.find("val/a\u0308.jpg"), names.find("c.jpg")) == (0, 3)
    with pytest.raises(SampleError, match="ambiguous"):
        names.find("b.jpg")
    with pytest.raises(SampleError, match="missing"):
        names.find("d.jpg")


def test_two_annotated_images_never_share_a_row_because_their_names_without_folders_are_equal():
    names = named([("t", ["x/a.jpg"])], ["x/a.jpg", "y/a.jpg"])
    with pytest.raises(SampleError, match="missing"):
        names.find("y/a.jpg")


def test_columns_are_told_by_their_names_or_by_the_option():
    columns = ["Rights", "URL", "id", "Creator"]
    assert chosen(columns, "", ("url", "path"), "address-column", "t") == "URL"
    assert chosen(columns, "id", ("url",), "address-column", "t") == "id"
    assert chosen(columns, "", ("nothing",), "address-column", "t") == ""
    assert telling(columns, taken=("URL",)) == {"license": ["Rights"], "author": ["Creator"]}
    with pytest.raises(CollectionError, match=re.escape("no column 'x'; --name-column must be one of 'Rights', 'URL'")):
        chosen(columns, "x", (), "name-column", "t")
