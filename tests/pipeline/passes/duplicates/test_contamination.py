"""The report of near-duplicates: its table is safe to open, its picture has the size of its pairs."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.passes.duplicates.contamination import Pair, closest_pairs, picture, picture_px, table

ROWS = [
    {"key": "a", "duplicate_of": None, "duplicate_similarity": 0.0, "nearest_earlier": None},
    {"key": "b", "duplicate_of": "a", "duplicate_similarity": 0.9, "nearest_earlier": "a"},
    {"key": "c", "duplicate_of": None, "duplicate_similarity": 0.5, "nearest_earlier": "b"},
    {"key": "failed"},
]


def test_the_table_has_those_that_match_with_keys_as_in_other_csv_files():
    assert table(ROWS).decode().splitlines()[1:] == ["key-b,key-a,0.900000,,"]


@given(st.text('=+-@,;"<é漢\n\r\t\0', max_size=12))
def test_no_name_of_a_test_set_breaks_the_table_or_begins_a_formula(name):
    row = {"key": "a", "test_set_match": f"S/{name}", "test_set_similarity": 1.0}
    header, found = csv.reader(io.StringIO(table([row]).decode(), newline=""))
    assert len(found) == len(header)
    assert found[3].startswith("S/")


def test_the_closest_pairs_come_first_and_near_misses_are_among_them():
    of_set = {"key": "d", "duplicate_similarity": 0.7, "nearest_earlier": "a"}
    of_set |= {"test_set_nearest": "S/x.jpg", "test_set_similarity": 0.95}
    found = closest_pairs([*ROWS, of_set])
    assert [(pair.key, pair.other, pair.is_of_set) for pair in found] == [
        ("d", "S/x.jpg", True), ("b", "a", False), ("d", "a", False), ("c", "b", False),
    ]  # fmt: skip
    assert closest_pairs(ROWS * 60, 50) == closest_pairs(ROWS[1:2] * 50, 50)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 50])
def test_the_picture_has_the_size_that_a_check_expects(count):
    pairs = [Pair(key=f"k{n}", other="S/é\n<b>" * n, similarity=0.9, is_of_set=n % 2 == 1) for n in range(count)]
    asked = []

    def photo(name):
        asked.append(name)
        return None if len(asked) % 3 else np.zeros((len(asked), 400, 3), np.uint8)

    content = picture(pairs, photo, lambda _: None)
    assert Image.open(io.BytesIO(content)).size == picture_px(count)
    assert not set(asked) & {pair.other for pair in pairs if pair.is_of_set}
