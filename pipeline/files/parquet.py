"""Parquet from bytes."""

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(content: bytes, schema: pa.Schema | None = None) -> pa.Table:
    """The table, with the columns of `schema` if one is given.

    Without pyarrow's threads and Python's file objects: a thread that still held one when the process ended had it
    aborted, exit code 134, in 9 of 40 runs of jobs/publish_release.py (pyarrow 26).

    Raises: pa.ArrowInvalid: it is no parquet, or not of these columns.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:  # the latter for damaged headers of pages, though no disk is read
        raise pa.ArrowInvalid(f"no whole parquet: {error}") from error
    if schema is not None and not table.schema.equals(schema):
        raise pa.ArrowInvalid(f"the columns are {table.schema.names}, or their types others, not {schema.names}")
    return table
