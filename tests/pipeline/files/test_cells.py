"""Properties, examples and faults of reading cells of parquet as streams."""

import contextlib
import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files import cells, parquet_streams
from pipeline.files.cells import Cell, read_cell
from pipeline.files.parquet_streams import TornParquetError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
KINDS = [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary()), IMAGE]
CELLS = st.lists(st.one_of(st.none(), st.binary(max_size=40)), min_size=1, max_size=30)


def write(path, values, *, kind=None, **options):
    """A file with one column of images; returns its path."""
    kind = kind or pa.binary()
    if pa.types.is_struct(kind):
        values = [None if value is None else {"bytes": value, "path": "x.jpg"} for value in values]
    pq.write_table(pa.table({"image": pa.array(values, kind)}), path, **options)
    return str(path)


def read(file, number, *, group_rows, column="image"):
    group, row = divmod(number, group_rows)
    found = read_cell(Cell(file=file, column=column, group=group, row=row))
    return None if found is None else found.to_pybytes()


def images(count, image_bytes=100):
    """Image `number` is its number, repeated."""
    return [number.to_bytes(4, "big") * (image_bytes // 4) for number in range(count)]


@pytest.fixture(autouse=True)
def no_open_streams(monkeypatch):
    monkeypatch.setattr(cells._OF_PROCESS, "here", cells._Streams())


@pytest.fixture
def openings(monkeypatch):
    """The files that were opened for a row group, one by one."""
    found = []
    opened = cells._Stream._opened
    monkeypatch.setattr(cells._Stream, "_opened", lambda self: found.append(self._cell.file) or opened(self))
    return found


@given(
    values=CELLS,
    group_rows=st.integers(1, 12),
    kind=st.sampled_from(KINDS),
    compression=st.sampled_from(["none", "snappy", "zstd"]),
    use_dictionary=st.booleans(),
    order=st.randoms(),
)
def test_every_cell_is_read_in_any_order_from_every_type_of_column(
    tmp_path_factory, values, group_rows, kind, compression, use_dictionary, order
):
    options = {"row_group_size": group_rows, "compression": compression, "use_dictionary": use_dictionary}
    file = write(tmp_path_factory.mktemp("cells") / "a.parquet", values, kind=kind, **options)
    column = "image.bytes" if kind is IMAGE else "image"
    numbers = list(range(len(values))) * 2
    order.shuffle(numbers)
    assert [read(file, number, group_rows=group_rows, column=column) for number in numbers] == [
        values[number] for number in numbers
    ]


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_file_gives_right_bytes_or_a_torn_file(tmp_path_factory, data):
    values = images(12)
    options = {"row_group_size": 5, "write_page_checksum": True}
    file = write(tmp_path_factory.mktemp("cells") / "a.parquet", values, **options)
    with open(file, "r+b") as damaged:
        size_bytes = os.path.getsize(file)
        damaged.seek(data.draw(st.integers(0, size_bytes - 1)))
        damaged.write(bytes([data.draw(st.integers(0, 255))]))
        damaged.truncate(data.draw(st.one_of(st.just(size_bytes), st.integers(0, size_bytes))))
    for number, value in enumerate(values):
        with contextlib.suppress(TornParquetError):
            found = read(file, number, group_rows=5)
            assert found in (value, None)


@pytest.mark.parametrize("shuffled", [False, True], ids=["in order", "shuffled"])
def test_threads_that_read_neighbours_have_a_row_group_decoded_once(tmp_path, openings, shuffled):
    values = images(300)
    file = write(tmp_path / "a.parquet", values, row_group_size=300)
    numbers = list(range(300))
    if shuffled:
        random.Random(1).shuffle(numbers)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: read(file, number, group_rows=300), numbers))
    assert found == [values[number] for number in numbers]
    assert openings == [file]


def test_files_whose_rows_are_sorted_are_read_in_the_order_of_all(tmp_path, openings):
    files = [write(tmp_path / f"{number}.parquet", images(8), row_group_size=8) for number in range(20)]
    for number in range(8):
        assert {read(file, number, group_rows=8) for file in files} == {images(8)[number]}
    assert openings == files


def test_a_row_group_larger_than_the_bound_is_never_held_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "MOST_KEPT_BYTES", 1 << 20)
    values = images(600, image_bytes=100_000)
    options = {"use_dictionary": False, "compression": "none", "data_page_size": 1 << 16, "write_batch_size": 1}
    file = write(tmp_path / "a.parquet", values, row_group_size=600, **options)
    before, peak = pa.total_allocated_bytes(), 0
    for number, value in enumerate(values):
        assert read(file, number, group_rows=600) == value
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 12 << 20


def test_an_earlier_row_than_those_kept_is_read_again(tmp_path, monkeypatch, openings):
    monkeypatch.setattr(cells, "MOST_KEPT_BYTES", 1)
    file = write(tmp_path / "a.parquet", images(600, 10_000), row_group_size=600)
    for number in (500, 0, 599):
        assert read(file, number, group_rows=600) == images(600, 10_000)[number]
    assert len(openings) == 2


def test_no_more_streams_are_open_than_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "MOST_STREAMS", 3)
    file = write(tmp_path / "a.parquet", images(40), row_group_size=2)
    for number in range(40):
        read(file, number, group_rows=2)
    assert len(cells._OF_PROCESS.here._open) == 3


def test_a_file_that_was_replaced_is_read_anew(tmp_path):
    file = write(tmp_path / "a.parquet", images(4), row_group_size=2)
    assert read(file, 3, group_rows=2) == images(4)[3]
    write(file, [b"other"] * 5, row_group_size=2)
    assert read(file, 3, group_rows=2) == b"other"


def test_remote_files_are_read_alike():
    file = f"memory://{uuid.uuid4().hex}/a.parquet"
    with fsspec.open(file, "wb") as target:
        pq.write_table(pa.table({"image": images(9)}), target, row_group_size=4)
    assert [read(file, number, group_rows=4) for number in range(9)] == images(9)
    fsspec.filesystem("memory").rm(file)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ({"row": 4}, "row group 0 ends after 4 rows"),
        ({"group": 1}, "it has 1 row groups, and not 2"),
        ({"column": "other"}, "it has no column 'other'"),
    ],
)
def test_a_cell_that_is_not_there_says_so(tmp_path, cell, said):
    file = write(tmp_path / "a.parquet", images(4))
    with pytest.raises(TornParquetError, match=said):
        read_cell(Cell(**{"file": file, "column": "image", "group": 0, "row": 0, **cell}))


def test_a_cell_that_unpacks_to_a_thousand_times_its_bytes_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_streams, "_FREE_BYTES", 1 << 20)
    file = write(tmp_path / "a.parquet", [bytes(4 << 20)], compression="zstd", use_dictionary=False)
    with pytest.raises(TornParquetError, match=r"claim to unpack to 4,194,\d+; at most"):
        read(file, 0, group_rows=1)


def test_rows_behind_a_torn_page_do_not_have_it_decoded_again(tmp_path, openings):
    file = write(tmp_path / "a.parquet", images(4))
    for row in range(4, 20):
        with pytest.raises(TornParquetError):
            read(file, row, group_rows=100)
    assert openings == [file]


def test_a_connection_that_fails_is_no_torn_file_and_is_tried_again(monkeypatch):
    file = f"memory://{uuid.uuid4().hex}/a.parquet"
    with fsspec.open(file, "wb") as target:
        pq.write_table(pa.table({"image": images(400, 10_000)}), target, use_dictionary=False, compression="none")
    reads = []

    class Breaking(MemoryFile):
        def read(self, count=-1):
            reads.append(count)
            if len(reads) == 3:
                raise ConnectionResetError("told so")
            return super().read(count)

    def breaking(self, path, mode="rb", **_):
        return Breaking(None, path, self.store[path].getvalue())

    monkeypatch.setattr(MemoryFileSystem, "open", breaking)
    with pytest.raises(ConnectionResetError, match="told so"):
        read(file, 399, group_rows=400)
    assert read(file, 399, group_rows=400) == images(400, 10_000)[399]


def test_a_file_that_is_gone_is_no_torn_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "a.parquet"), 0, group_rows=1)
