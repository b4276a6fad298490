"""Parquet of strangers: what was written is read, and a few bytes do not become gigabytes."""

import io
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files import parquet
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


@given(
    TABLES,
    st.fixed_dictionaries(
        {
            "row_group_size": st.integers(1, 40),
            "compression": st.sampled_from(["none", "zstd", "snappy", "gzip"]),
            "data_page_version": st.sampled_from(["1.0", "2.0"]),
            "use_dictionary": st.booleans(),
            "write_statistics": st.booleans(),
            "write_page_checksum": st.booleans(),
            "data_page_size": st.sampled_from([1, 100, 10_000]),
        }
    ),
)
def test_the_headers_of_all_pages_are_found_however_pyarrow_writes_them(table, options):
    content = encode(table, **options)
    about = pq.ParquetFile(pa.BufferReader(content)).metadata
    sizes = list(parquet._page_sizes(content, about))
    with_headers = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if not len(table):
        assert sizes == []  # nothing of it is read
        return
    assert sum(sizes) + 8 * len(sizes) <= with_headers <= sum(sizes) + 200 * len(sizes)


@given(TABLES, st.data())
def test_a_changed_byte_gives_a_table_or_a_refusal(table, data):
    content = bytearray(encode(table, compression="zstd"))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(pa.ArrowInvalid):
        assert isinstance(read_parquet(bytes(content)), pa.Table)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_a_header_of_any_bytes_ends_or_is_refused(content, at):
    with suppress(IndexError, KeyError, ValueError):
        sizes, _ = parquet._page_header(content, at)
        assert min(sizes[2], sizes[3]) >= 0


@given(TABLES, st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(table, kept):
    content = encode(table)
    for read in (read_parquet, parquet_schema):
        with pytest.raises(pa.ArrowInvalid):
            read(content[: int(kept * len(content))])


@pytest.mark.parametrize(
    "columns",
    [
        lambda: {"a": ["x" * 1000] * 500_000},
        lambda: {"a": pa.array([None] * 20_000_000, pa.string())},
        lambda: {"a": pa.array([True] * 20_000_000)},
        lambda: dict.fromkeys((f"c{number}" for number in range(40)), pa.array([0] * 1_000_000)),
        lambda: {"a": ["x" * 50_000_000, "y" * 50_000_000]},
    ],
    ids=["one text in all rows", "empty rows", "bits", "many columns", "long texts"],
)
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_small_file_does_not_become_a_large_table(columns, compression):
    content = encode(pa.table(columns()), compression=compression)
    if len(content) > 3_000_000:
        assert compression == "none"  # then nothing is small about it
        return

    def read():
        before = pa.total_allocated_bytes()
        with pytest.raises(pa.ArrowInvalid, match=r"bytes of parquet (claim|unpack)"):
            read_parquet(content)
        assert pa.total_allocated_bytes() - before < 400_000_000

    assert peak_bytes(read) < 100_000_000


def claiming_less(content, sizes):
    """The file with other sizes in its footer, as long as they were; its pages ask for what they did."""
    footer_at = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = content[footer_at:]
    for size in sizes:
        number = varint(2 * size)
        assert number in footer
        footer = footer.replace(number, b"\x80" * (len(number) - 1) + b"\0")  # zero, in as many bytes
    return content[:footer_at] + footer


def varint(number):
    head = b""
    while number > 0x7F:
        head, number = head + bytes([number & 0x7F | 0x80]), number >> 7
    return head + bytes([number])


@pytest.mark.parametrize("use_dictionary", [False, True])
def test_a_page_that_asks_for_more_than_the_footer_says_is_refused_before_it_gets_it(monkeypatch, use_dictionary):
    content = encode(pa.table({"a": ["x" * 9_000_000]}), compression="zstd", use_dictionary=use_dictionary)
    group = pq.ParquetFile(pa.BufferReader(content)).metadata.row_group(0)
    lying = claiming_less(content, {group.total_byte_size, group.column(0).total_uncompressed_size})
    assert pq.ParquetFile(pa.BufferReader(lying)).metadata.row_group(0).total_byte_size == 0
    assert len(lying) < 50_000
    monkeypatch.setattr(parquet, "_FREE_BYTES", 1 << 20)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    with pytest.raises(pa.ArrowInvalid, match=r"claim 1 rows of 9,\d+,\d+ bytes; at most"):
        read_parquet(lying)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"_MOST_PAGES": 1}, "more than 1 pages"),
        ({"_DEEPEST": 1}, "no page begins at byte 4: ValueError"),
    ],
)
def test_pages_that_are_too_many_or_no_pages_are_refused(monkeypatch, changed, said):
    content = encode(pa.table({"a": ["x"] * 3}))
    for name, value in changed.items():
        monkeypatch.setattr(parquet, name, value)
    with pytest.raises(pa.ArrowInvalid, match=said):
        read_parquet(content)


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
