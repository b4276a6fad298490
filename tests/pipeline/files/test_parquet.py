"""Parquet of strangers: what was written is read, and a few bytes do not become gigabytes."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files.parquet import parquet_schema, read_parquet
from tests.pipeline.make import peak_bytes

TABLES = st.lists(st.tuples(st.text(max_size=5), st.integers(-5, 5)), max_size=30).map(
    lambda rows: pa.table({"a": [row[0] for row in rows], "b": [row[1] for row in rows]}, _SCHEMA)
)
_SCHEMA = pa.schema([("a", pa.string()), ("b", pa.int64())])


def encode(table, **options):
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


@given(TABLES, st.integers(1, 40))
def test_what_is_written_is_read_whatever_its_row_groups(table, group_rows):
    content = encode(table, row_group_size=group_rows)
    assert read_parquet(content, _SCHEMA).equals(table)
    assert parquet_schema(content).equals(_SCHEMA)


@given(TABLES, st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(table, kept):
    content = encode(table)
    for read in (read_parquet, parquet_schema):
        with pytest.raises(pa.ArrowInvalid):
            read(content[: int(kept * len(content))])


@pytest.mark.parametrize(
    "table",
    [
        {"a": ["x" * 1000] * 2_000_000},
        {"a": pa.array([None] * 20_000_000, pa.string())},
        {"a": pa.array([True] * 20_000_000)},
        {f"c{number}": pa.array([0] * 1_000_000) for number in range(40)},
        {"a": ["x" * 50_000_000, "y" * 50_000_000]},
    ],
    ids=["one text in all rows", "empty rows", "bits", "many columns", "long texts"],
)
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_small_file_does_not_become_a_large_table(table, compression):
    content = encode(pa.table(table), compression=compression)
    if len(content) > 3_000_000:
        assert compression == "none"  # then nothing is small about it
        return

    def read():
        before = pa.total_allocated_bytes()
        with pytest.raises(pa.ArrowInvalid, match=r"bytes of parquet (claim|unpack)"):
            read_parquet(content)
        assert pa.total_allocated_bytes() - before < 400_000_000

    assert peak_bytes(read) < 100_000_000


def test_the_plan_of_a_large_collection_in_one_zip_is_within_the_bounds():
    rows = 300_000
    table = pa.table(
        {
            "key": [f"{7 * number:012d}" for number in range(rows)],
            "path": ["/data/" + "folder/" * 30 + "train2017.zip"] * rows,
            "file_name": [f"{7 * number:012d}.jpg" for number in range(rows)],
            "problem": [""] * rows,
            "header_offset": [150_000 * number for number in range(rows)],
        }
    )
    assert read_parquet(encode(table, compression="zstd")).num_rows == rows
