"""Candidate shards: what was computed for each image, accepted or not, as a tar of maps and a parquet file of rows.

RUN/candidates/000042.tar       KEY.saliency.png, KEY.variance.png, KEY.json for every image that was predicted
RUN/candidates/000042.parquet   one row for every image of the shard, failed ones too
RUN/commits/000042.json         the shard's record, created last: without it the other two do not count

When the failed images of a shard are tried again, its new files get a number (000042.1.tar) and its record is replaced;
until that moment the old files count.
"""

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from model.prediction import Prediction
from pipeline.errors import StorageError
from pipeline.files import storage
from pipeline.files.maps import decode_png, encode_png, quantise_saliency, quantise_variance
from pipeline.files.parquet import read_parquet
from pipeline.files.tars import SampleTar, encode_json, samples_of
from pipeline.records import CandidateRow, ShardRecord, StoredFile

_READERS = 16
"""Threads that read records: these are small files, so what counts is how many are waited for at once."""
_ROW_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("image_sha256", pa.string()),
        ("image_bytes", pa.int64()),
        ("members", pa.int32()),
        ("fewer_at_once", pa.int32()),
        ("scores", pa.map_(pa.string(), pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateMaps:
    """The stored maps of one image, 8 bits at the image's own size; `files/maps.py` says what the values mean."""

    saliency: UInt8[np.ndarray, "h w"]
    variance: UInt8[np.ndarray, "h w"]


def encode_members(row: CandidateRow, prediction: Prediction) -> dict[str, bytes]:
    """The tar members of one predicted image."""
    return {
        "saliency.png": encode_png(quantise_saliency(prediction.saliency)),
        "variance.png": encode_png(quantise_variance(prediction.variance)),
        "json": encode_json(row.stored()),
    }


def encode_rows(rows: Sequence[CandidateRow]) -> bytes:
    """Rows as parquet; equal rows give equal bytes."""
    values = [row.stored() | {"scores": sorted(row.scores.items())} for row in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(values, schema=_ROW_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def decode_rows(content: bytes) -> list[CandidateRow]:
    """Read the rows that `encode_rows` wrote."""
    table = read_parquet(content, _ROW_SCHEMA)
    return [CandidateRow(**row | {"scores": dict(row["scores"])}) for row in table.to_pylist()]


def commit_shard(
    run: str, shard: str, rows: Sequence[CandidateRow], members: Sequence[tuple[str, dict[str, bytes]]]
) -> ShardRecord:
    """Publish a shard's tar and rows, then create its record.

    If another process has committed the shard in the meantime, its commit stands: the same work gives the same bytes.
    """
    record = _publish_shard(run, shard, shard, rows, members)
    storage.create(_record_url(run, shard), encode_json(asdict(record)))
    return record


def replace_shard(
    run: str, before: ShardRecord, rows: Sequence[CandidateRow], members: Sequence[tuple[str, dict[str, bytes]]]
) -> ShardRecord:
    """Replace the rows and maps of a committed shard; the old ones count until the new ones are whole.

    Returns: the new record, or the old one if the rows have not changed.
    """
    if storage.stored_file(before.rows.name, encode_rows(rows)) == before.rows:
        return before
    _, _, number = before.tar.name.removesuffix(".tar").partition(".")
    record = _publish_shard(run, before.shard, f"{before.shard}.{int(number or 0) + 1}", rows, members)
    storage.publish(_record_url(run, before.shard), encode_json(asdict(record)))
    for file in (before.tar, before.rows):
        storage.remove(storage.join(run, "candidates", file.name))
    return record


def _publish_shard(
    run: str,
    shard: str,
    stem: str,
    rows: Sequence[CandidateRow],
    members: Sequence[tuple[str, dict[str, bytes]]],
) -> ShardRecord:
    buffer = io.BytesIO()
    shard_tar = SampleTar(buffer)
    for key, contents in members:
        shard_tar.add(key, contents)
    shard_tar.close()
    tar = storage.publish(storage.join(run, "candidates", f"{stem}.tar"), buffer.getvalue())
    parquet = storage.publish(storage.join(run, "candidates", f"{stem}.parquet"), encode_rows(rows))
    failed = sum(row.status == "failed" for row in rows)
    return ShardRecord(shard=shard, tar=tar, rows=parquet, done=len(rows) - failed, failed=failed)


def _record_url(run: str, shard: str) -> str:
    return storage.join(run, "commits", f"{shard}.json")


def committed_shards(run: str) -> set[str]:
    """Names of the shards that have a record."""
    return {name.removesuffix(".json") for name in storage.list_names(storage.join(run, "commits"))}


def is_committed(run: str, shard: str) -> bool:
    """Whether the shard has a record."""
    return storage.exists(_record_url(run, shard))


def read_shard_record(run: str, shard: str) -> ShardRecord:
    """Read the record of a committed shard.

    Raises: StorageError: it is missing, is not a record, or belongs to another shard.
    """
    url = _record_url(run, shard)
    content = storage.read(url)
    try:
        values = json.loads(content)
        tar, rows = (StoredFile(**values.pop(name)) for name in ("tar", "rows"))
        record = ShardRecord(**values, tar=tar, rows=rows)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(
            f"{url} is not a shard record ({error}): delete it, and the shard is computed again"
        ) from error
    named = (record.shard, record.tar.name, record.rows.name)
    stem = record.tar.name.removesuffix(".tar")
    _, _, number = stem.partition(".")
    if named != (shard, f"{stem}.tar", f"{stem}.parquet") or stem not in (shard, f"{shard}.{number}"):
        raise StorageError(f"{url} is the record of another shard {named}: delete it, and the shard is computed again")
    return record


def read_shard_records(run: str, shards: Sequence[str]) -> dict[str, ShardRecord]:
    """Read the records of many committed shards in parallel; shard → record, in their order.

    Raises: StorageError: as `read_shard_record`.
    """
    # A hundred at a time: on a local disk, handing one record to a thread took longer than reading it.
    hundreds = [shards[start : start + 100] for start in range(0, len(shards), 100)]
    with ThreadPoolExecutor(_READERS) as pool:
        read = pool.map(lambda some: {shard: read_shard_record(run, shard) for shard in some}, hundreds)
        return {shard: record for records in read for shard, record in records.items()}


def read_rows(run: str, record: ShardRecord) -> list[CandidateRow]:
    """Read the rows of a committed shard in key order, and check them against its record."""
    return decode_rows(storage.read_checked(storage.join(run, "candidates", record.rows.name), record.rows))


def read_maps(run: str, record: ShardRecord) -> Iterator[tuple[str, CandidateMaps]]:
    """Key and stored maps of each predicted image of a committed shard in key order, checked against its record."""
    for key, members in sorted(read_members(run, record).items()):
        yield (
            key,
            CandidateMaps(saliency=decode_png(members["saliency.png"]), variance=decode_png(members["variance.png"])),
        )


def read_members(run: str, record: ShardRecord) -> dict[str, dict[str, bytes]]:
    """Key → extension → content of a committed shard's tar in its order, checked against its record."""
    return dict(samples_of(storage.read_checked(storage.join(run, "candidates", record.tar.name), record.tar)))
