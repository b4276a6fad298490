"""Single cells of a column of a parquet file, whose row groups are read as streams and never whole.

A row group may take hundreds of megabytes, and can't be entered in its middle. So each has a stream that goes on where
it stood: whoever reads neighbours, in whatever threads, has a row group decoded once. Streams keep what they read last,
within a bound for the process.
"""

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import urls
from pipeline.files.of_process import OfProcess
from pipeline.files.parquet_streams import TornParquetError, open_parquet

MOST_KEPT_BYTES = 128 << 20
"""Of cells that all streams of a process keep: enough for what its threads read at once."""
MOST_STREAMS = 32
"""Row groups that are open in a process. As many files whose rows are sorted can be read in the order of all."""
MOST_OPEN_BYTES = 256 << 20
"""Of dictionaries of the open row groups: writers put all images of a row group into one if they come in one piece."""
_BATCH_BYTES = 2 << 20
_MOST_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Where a cell is."""

    file: str
    """Path or URL."""
    column: str
    """Path of a column that has no others below it, such as `image.bytes`."""
    group: int
    """Row group, from 0."""
    row: int
    """Within it, from 0."""


def read_cell(cell: Cell) -> pa.Buffer | None:
    """The bytes of a cell of binary values, not copied; None if it is null.

    Raises: TornParquetError: the file has no such cell, or can't be decoded up to there.
            OSError: the machine or the connection failed, or the file is gone.
    """
    return _OF_PROCESS.here.read(cell)


def forget() -> None:
    """Forget all files: a remote one may have been replaced since it was read."""
    _OF_PROCESS.renew()
    _metadata.cache_clear()


class _Stream:
    """One column of a row group, read from its beginning to its end, and again if an earlier row is asked for."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._lock = threading.Lock()
        self.open_bytes = 0
        """What it takes to be open, beside what is kept."""
        self._begin()

    def read(self, row: int, allowance: int) -> pa.Buffer | None:
        """The cell of a row. Args: allowance: bytes that may be kept."""
        with self._lock:
            if row < (self._kept[0][0] if self._kept else self._next_row):
                self._begin()
            while row >= self._next_row:
                self._advance()
                self._trim(allowance)
            return next(_value(cells[row - start]) for start, cells in reversed(self._kept) if start <= row)

    def trim(self, allowance: int) -> None:
        """Keep less, unless a thread is reading; what it reads is trimmed then."""
        if self._lock.acquire(blocking=False):
            try:
                self._trim(allowance)
            finally:
                self._lock.release()

    def _begin(self) -> None:
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._kept: deque[tuple[int, pa.Array]] = deque()
        self._kept_bytes = self._next_row = self._rows = 0
        self._torn: TornParquetError | None = None

    def _advance(self) -> None:
        if self._torn is not None:  # what is behind a torn page is not looked for again for each of its rows
            raise self._torn
        try:
            if self._batches is None:
                self._batches = self._opened()
            batch = next(self._batches, None)
            if batch is None or not batch.num_rows:
                raise TornParquetError(f"row group {self._cell.group} ends after {self._next_row} rows")
        except TornParquetError as error:
            self._torn = error
            raise
        except BaseException:  # the machine failed, and the next one to ask begins anew
            self._begin()
            raise
        cells = batch.column(0)
        while pa.types.is_struct(cells.type):  # of which only the column that was asked for is there
            cells = cells.field(0)
        self._kept.append((self._next_row, cells))
        self._kept_bytes += cells.nbytes
        self._next_row += batch.num_rows
        if self._next_row >= self._rows:
            self._batches, self.open_bytes = iter(()), 0

    def _opened(self) -> Iterator[pa.RecordBatch]:
        file = open_parquet(self._cell.file, _metadata(self._cell.file, _stamp(self._cell.file)))
        chunk = file.chunk(self._cell.group, self._cell.column)
        self._rows = file.metadata.row_group(self._cell.group).num_rows
        self.open_bytes = (chunk.data_page_offset - chunk.dictionary_page_offset) if chunk.has_dictionary_page else 0
        row_bytes = chunk.total_uncompressed_size // max(1, self._rows)
        batch_rows = max(1, min(_MOST_BATCH_ROWS, _BATCH_BYTES // (max(0, row_bytes) + 1)))
        return file.batches([self._cell.column], self._cell.group, batch_rows)

    def _trim(self, allowance: int) -> None:
        while self._kept_bytes > allowance and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popleft()[1].nbytes


class _Streams:
    """The open streams of a process, those used last at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, str, int, object], _Stream] = OrderedDict()

    def read(self, cell: Cell) -> pa.Buffer | None:
        key = (cell.file, cell.column, cell.group, _stamp(cell.file))
        with self._lock:
            stream = self._open.get(key)
            if stream is None:
                stream = self._open[key] = _Stream(cell)
                while len(self._open) > 1 and not self._fits():
                    self._open.popitem(last=False)
                for other in self._open.values():
                    other.trim(self._allowance())
            self._open.move_to_end(key)
            allowance = self._allowance()
        return stream.read(cell.row, allowance)

    def _fits(self) -> bool:
        open_bytes = sum(stream.open_bytes for stream in self._open.values())
        return len(self._open) <= MOST_STREAMS and open_bytes <= MOST_OPEN_BYTES

    def _allowance(self) -> int:
        return MOST_KEPT_BYTES // len(self._open)


_OF_PROCESS = OfProcess(_Streams)


def _stamp(file: str) -> object:
    """Tells a local file from one that replaced it; remote ones are not asked for each cell."""
    if not urls.is_local(file):
        return None
    found = os.stat(urls.absolute(file))
    return found.st_size, found.st_mtime_ns, found.st_ino


@lru_cache(maxsize=8)
def _metadata(file: str, _stamp: object) -> pq.FileMetaData:
    """What the footer says: read once, and not for each row group."""
    return open_parquet(file).metadata


def _value(cell: pa.Scalar) -> pa.Buffer | None:
    value = cell.value if isinstance(cell, pa.DictionaryScalar) else cell
    return value.as_buffer() if value.is_valid else None
