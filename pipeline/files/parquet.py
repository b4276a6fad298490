"""Read parquet from bytes, within bounds: a few bytes of it can stand for millions of rows."""

import pyarrow as pa
import pyarrow.parquet as pq

_FREE_BYTES = 64 << 20  # 64 MiB: however small the file, its table may take as much
_EXPANSION = 100
"""Bytes of a table per byte of its file: a plan of images in one zip, whose path each row repeats, came to 30."""
_FREE_ROWS = 250_000
_BYTES_PER_ROW = 4
"""Each row has a key at least."""
_BATCH_ROWS = 1024


def read_parquet(content: bytes, schema: pa.Schema | None = None, most_rows: int | None = None) -> pa.Table:
    """The table, with the columns of `schema` if one is given.

    It uses neither pyarrow's threads nor Python's file objects: a thread that still held one when the process ended
    aborted the process with exit code 134 in 9 of 40 runs of jobs/publish_release.py (pyarrow 26).

    Args:   most_rows: by default many more than any file here has for its bytes.
    Raises: pa.ArrowInvalid: it is not whole parquet, has other columns, or would take far more memory than the file.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if schema is not None and not file.schema_arrow.equals(schema):
            names = file.schema_arrow.names
            raise pa.ArrowInvalid(f"expected the columns {schema.names}, found {names[:100]} or other types")
        return _read_bounded(file, len(content), most_rows or _FREE_ROWS + len(content) // _BYTES_PER_ROW)
    except pa.ArrowInvalid:
        raise
    except (pa.ArrowException, OSError) as error:  # OSError: damaged page headers, although no disk is read
        raise pa.ArrowInvalid(f"not a whole parquet file: {error}") from error


def parquet_schema(content: bytes) -> pa.Schema:
    """The columns of a parquet file; no row is read.

    Raises: pa.ArrowInvalid: it is not whole parquet.
    """
    try:
        return pq.ParquetFile(pa.BufferReader(content)).schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise pa.ArrowInvalid(f"not a whole parquet file: {error}") from error


def _read_bounded(file: pq.ParquetFile, file_bytes: int, most_rows: int) -> pa.Table:
    """Read batch by batch. What the file says about its size is looked at first, and not believed."""
    about = file.metadata
    most_bytes = _FREE_BYTES + _EXPANSION * file_bytes
    claimed = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if about.num_rows > most_rows or claimed > most_bytes:
        raise pa.ArrowInvalid(
            f"{file_bytes:,} bytes of parquet claim {about.num_rows:,} rows of {claimed:,} bytes; at most "
            f"{most_rows:,} rows of {most_bytes:,} bytes are read"
        )
    batches, taken_bytes = [], 0
    for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
        batches.append(batch)
        taken_bytes += batch.nbytes
        if taken_bytes > most_bytes:
            raise pa.ArrowInvalid(f"{file_bytes:,} bytes of parquet unpack to more than {most_bytes:,}")
    return pa.Table.from_batches(batches, file.schema_arrow)
