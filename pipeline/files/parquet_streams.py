"""A parquet file, local or remote, whose columns are read as streams; damage is told from a machine that failed.

As in `files/parquet.py`, pyarrow uses no threads of its own.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipeline.files import urls

_FREE_BYTES, _EXPANSION = 64 << 20, 100
"""A column may unpack to so many times its bytes, beyond the free ones; images hardly shrink."""
_BUFFER_BYTES = 1 << 20
_REMOTE_BLOCK_BYTES = 4 << 20


class TornParquetError(ValueError):
    """The file is not whole parquet, or not the one that it was."""


def open_parquet(file: str, metadata: pq.FileMetaData | None = None) -> "OpenParquet":
    """Open a local or remote file to read its columns as streams.

    Args:   metadata: what its footer says, if that is known.
    Raises: TornParquetError: it is not parquet. OSError: it can't be opened.
    """
    fs, path = urls.resolve(file, chained=True)
    remote = None
    source: Any = path
    if not isinstance(fs, LocalFileSystem):
        remote = source = _Remote(fs.open(path, "rb", block_size=_REMOTE_BLOCK_BYTES, cache_type="readahead"))
    options = {"metadata": metadata, "buffer_size": _BUFFER_BYTES, "pre_buffer": False}
    return OpenParquet(remote, lambda: pq.ParquetFile(source, page_checksum_verification=True, **options))


class OpenParquet:
    """An open parquet file; not for several threads."""

    def __init__(self, remote: "_Remote | None", opened: Any) -> None:
        self._remote = remote
        self._file: pq.ParquetFile = self._blaming(opened)

    @property
    def metadata(self) -> pq.FileMetaData:
        """What its footer says."""
        return self._file.metadata

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        schema: pa.Schema = self._blaming(lambda: self._file.schema_arrow)
        self._blaming(lambda: schema.names)  # damaged names are no text
        return schema

    def chunk(self, group: int, column: str) -> pq.ColumnChunkMetaData:
        """What the footer says of a column in a row group.

        Raises: TornParquetError: there is none.
        """
        if group >= self.metadata.num_row_groups:
            raise TornParquetError(f"it has {self.metadata.num_row_groups} row groups, and not {group + 1}")
        return self._blaming(lambda: self._chunk(self.metadata.row_group(group), column))

    def nulls(self, group: int, column: str) -> int | None:
        """How many cells of a column in a row group are null, as the footer says; None if it does not."""
        chunk = self.chunk(group, column)
        found: int | None = self._blaming(lambda: chunk.statistics.null_count if chunk.is_stats_set else None)
        return found

    def batches(self, columns: list[str], group: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Some columns of a row group, a few rows at a time.

        Raises: as `read_cell`.
        """
        for column in columns:
            self._require_modest(self.chunk(group, column), group, column)
        options = {"row_groups": [group], "columns": columns, "use_threads": False}
        stream = self._blaming(lambda: self._file.iter_batches(batch_rows, **options))
        while (batch := self._blaming(lambda: next(stream, None))) is not None:
            yield batch

    def _require_modest(self, chunk: pq.ColumnChunkMetaData, group: int, column: str) -> None:
        stored, claimed = chunk.total_compressed_size, chunk.total_uncompressed_size
        if claimed > _FREE_BYTES + _EXPANSION * max(0, stored):
            raise TornParquetError(
                f"{stored:,} bytes of column {column!r} in row group {group} claim to unpack to {claimed:,}; at most "
                f"{_FREE_BYTES + _EXPANSION * stored:,} are read"
            )

    def _chunk(self, group: pq.RowGroupMetaData, column: str) -> pq.ColumnChunkMetaData:
        chunks = (group.column(number) for number in range(group.num_columns))
        chunk = next((chunk for chunk in chunks if chunk.path_in_schema == column), None)
        if chunk is None:
            raise TornParquetError(f"it has no column {column!r} of single values")
        return chunk

    def _blaming(self, call: Any) -> Any:
        """Call something that reads; tell a damaged file from a connection or a disk that failed."""
        try:
            return call()
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            if self._remote is not None and self._remote.failed is not None:
                failed, self._remote.failed = self._remote.failed, None
                raise failed from error
            # Damaged pages give an OSError without a number; the system's have one.
            if isinstance(error, OSError) and (error.errno is not None or isinstance(error, FileNotFoundError)):
                raise
            raise TornParquetError(str(error)[:200]) from error


class _Remote:
    """A remote file for pyarrow, which remembers how reading it failed: pyarrow's errors do not tell."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failed: Exception | None = None
        self.closed = False

    def read(self, count: int = -1) -> bytes:
        """Read, as files do."""
        try:
            return self._file.read(count)
        except Exception as error:
            self.failed = error
            raise

    def seek(self, place: int, whence: int = 0) -> int:
        """Seek, as files do."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Tell the position, as files do."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._file.close()

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is not."""
        return False

    def seekable(self) -> bool:
        """It is."""
        return True

    def flush(self) -> None:
        """Nothing is written."""
