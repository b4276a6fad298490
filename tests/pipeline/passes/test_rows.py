"""Rows of a pass as parquet: nothing is lost, equal rows give equal bytes, and only the record's own file is read."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import FAILURE_REASONS, StorageError
from pipeline.passes.rows import commit_rows, decode_rows, encode_rows, read_rows
from pipeline.records import PassRow
from pipeline.runs.commits import read_shard_record
from pipeline.selection.columns import Text
from pipeline.selection.scores import Score
from tests.pipeline.make import make_key, tree

COLUMNS = (
    Score(name="own_score", meaning="a number", lowest=-2, highest=3, worse_when="low"),
    Text(name="own_text", meaning="a text"),
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.fixed_dictionaries(
    {"own_score": st.none() | st.floats(-2, 3), "own_text": st.none() | TEXTS},
)


def make_row(number, values=None, reason=""):
    """A scored image, or with a reason one that has no values."""
    given = {"key": make_key(number), "candidate_sha256": f"{number:064x}", "reason": reason}
    if reason:
        return PassRow(status="failed", detail="found so", values={}, **given)
    return PassRow(status="done", detail="", values=values or {"own_score": number / 10, "own_text": "é"}, **given)


rows_of_shards = st.lists(st.sampled_from(sorted(FAILURE_REASONS)) | VALUES, max_size=6).map(
    lambda found: [
        make_row(number, reason=one) if isinstance(one, str) else make_row(number, one)
        for number, one in enumerate(found)
    ]
)


@given(rows_of_shards)
def test_what_is_written_is_read_and_equal_rows_have_equal_bytes(rows):
    content = encode_rows(rows, COLUMNS)
    assert decode_rows(content, COLUMNS) == rows
    assert encode_rows(decode_rows(content, COLUMNS), COLUMNS) == content


@given(st.data())
def test_a_file_that_ends_early_is_never_read_as_rows(data):
    content = encode_rows([make_row(1), make_row(2, reason="missing")], COLUMNS)
    with pytest.raises((pa.ArrowException, ValueError)):
        decode_rows(content[: data.draw(st.integers(0, len(content) - 1))], COLUMNS)


def test_rows_of_other_columns_are_not_read():
    content = encode_rows([make_row(1)], COLUMNS)
    for columns in (COLUMNS[:1], COLUMNS[::-1], (COLUMNS[0], Score(name="own_text", meaning="x", worse_when="low"))):
        with pytest.raises(pa.ArrowInvalid, match="expected the columns"):
            decode_rows(content, columns)


def commit(folder, rows, before=None, scored="ab", made_with="cd"):
    return commit_rows(str(folder), "000000", rows, COLUMNS, scored=scored, made_with=made_with, before=before)


def test_a_record_counts_and_names_what_was_written(tmp_path):
    rows = [make_row(1), make_row(2, reason="image_changed")]
    record = commit(tmp_path, rows)
    assert (record.done, record.failed, record.scored, record.made_with, record.number) == (1, 1, "ab", "cd", 0)
    assert read_shard_record(str(tmp_path), "000000") == record
    assert read_rows(str(tmp_path), record, COLUMNS) == rows
    (path,) = (tmp_path / "scores").iterdir()
    assert path.name == f"000000.{record.rows.sha256[:16]}.parquet"


def test_equal_rows_on_equal_candidates_change_nothing_and_others_get_a_new_record(tmp_path):
    first = commit(tmp_path, [make_row(1)])
    before = tree(tmp_path)
    assert commit(tmp_path, [make_row(1)], first) == first
    assert tree(tmp_path) == before
    second = commit(tmp_path, [make_row(1)], first, scored="ef")  # the candidates' other rows have changed
    assert (second.number, second.rows) == (1, first.rows)
    third = commit(tmp_path, [make_row(2)], second, scored="ef")
    assert third.number == 2
    assert [path.name for path in (tmp_path / "scores").iterdir()] == [third.rows.name]
    assert read_shard_record(str(tmp_path), "000000") == third


def test_the_record_of_a_faster_session_counts(tmp_path):
    faster = commit(tmp_path, [make_row(1)])
    assert commit(tmp_path, [make_row(2)]) == faster
    assert read_rows(str(tmp_path), faster, COLUMNS) == [make_row(1)]


@pytest.mark.parametrize("damage", [bytes.upper, lambda content: content[:-1], lambda content: content + b"x"])
def test_a_file_that_is_not_the_record_s_is_not_read(tmp_path, damage):
    record = commit(tmp_path, [make_row(1)])
    path = Path(tmp_path, "scores", record.rows.name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StorageError, match=r"sod run verify RUN --repair"):
        read_rows(str(tmp_path), record, COLUMNS)
