"""What a score pass has found out about the images of a shard, as a parquet file.

RUN/passes/NAME/scores/000042.DIGEST.parquet   one row for every image of the shard: what became of it, and the columns
                                               that the pass adds; float64 for a score, bytes for a vector
RUN/passes/NAME/commits/000042.json            the shard's record: see `runs/commits.py`
"""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import storage
from pipeline.files.parquet import read_parquet
from pipeline.records import PassRow, ShardRecord
from pipeline.runs.commits import commit, publish_file
from pipeline.selection.columns import Column, Vector
from pipeline.selection.scores import Score

FOLDER = "scores"
_OWN = ("key", "status", "reason", "detail", "candidate_sha256")


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The columns of the file."""
    added = [(column.name, _type_of(column)) for column in columns]
    return pa.schema([*((name, pa.string()) for name in _OWN), *added])


def _type_of(column: Column) -> pa.DataType:
    if isinstance(column, Vector):
        return pa.binary(2 * column.length)
    return pa.float64() if isinstance(column, Score) else pa.string()


def encode_rows(rows: Sequence[PassRow], columns: Sequence[Column]) -> bytes:
    """Rows as parquet; equal rows give equal bytes."""
    values = [{name: getattr(row, name) for name in _OWN} | dict(row.values) for row in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(values, schema=schema_of(columns)), buffer, compression="zstd")
    return buffer.getvalue()


def decode_rows(content: bytes, columns: Sequence[Column]) -> list[PassRow]:
    """Read what `encode_rows` wrote.

    Raises: ValueError, pyarrow.ArrowException: it is not that.
    """
    rows = []
    for stored in read_parquet(content, schema_of(columns)).to_pylist():
        own = {name: stored[name] for name in _OWN}
        values = {column.name: stored[column.name] for column in columns} if own["status"] == "done" else {}
        rows.append(PassRow(**own, values=values))
    return rows


def commit_rows(
    folder: str,
    shard: str,
    rows: Sequence[PassRow],
    columns: Sequence[Column],
    *,
    scored: str,
    made_with: str,
    builds_on: str = "",
    before: ShardRecord | None = None,
) -> ShardRecord:
    """Publish a shard's rows, then create its record.

    Args:    folder: of the pass.
             scored, made_with, builds_on: see `ShardRecord`.
             before: the record that the new one takes the place of; it counts until the new one exists.
    Returns: the record that counts: `before` if nothing has changed, or the record of another process that has
             committed the shard in the meantime.
    """
    encoded = encode_rows(rows, columns)
    is_current = before and (before.scored, before.builds_on) == (scored, builds_on)
    if before and is_current and storage.stored_file(before.rows.name, encoded) == before.rows:
        return before
    failed = sum(row.status == "failed" for row in rows)
    record = ShardRecord(
        shard=shard,
        rows=publish_file(storage.join(folder, FOLDER), shard, "parquet", encoded),
        done=len(rows) - failed,
        failed=failed,
        made_with=made_with,
        scored=scored,
        builds_on=builds_on,
        number=before.number + 1 if before else 0,
    )
    return commit(folder, record, before, FOLDER)


def read_rows(folder: str, record: ShardRecord, columns: Sequence[Column]) -> list[PassRow]:
    """Read the rows of a committed shard of a pass in key order, and check them against its record.

    Raises: StorageError: the file is missing, or is not the one that the record names.
    """
    return decode_rows(storage.read_checked(storage.join(folder, FOLDER, record.rows.name), record.rows), columns)
