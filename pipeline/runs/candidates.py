"""Candidate shards: what was computed for each image, accepted or not, as a tar of maps and a parquet file of rows.

RUN/candidates/000042.DIGEST.tar       KEY.saliency.png, KEY.variance.png, KEY.json for every image that was predicted
RUN/candidates/000042.DIGEST.parquet   one row for every image of the shard, failed ones too
RUN/commits/000042.json                the shard's record, created last: without it the other two do not count

DIGEST is the beginning of the file's own SHA-256, and records are created exclusively. So nothing that is committed is
ever overwritten: a session that was paused and wakes up after another took over writes the same bytes under the same
name, or a file that no record names. When the failed images of a shard are tried again, its new record gets a number
(000042.1.json); the record with the highest number counts.
"""

import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from model.documents import parse_json
from model.prediction import Prediction
from pipeline.errors import StorageError
from pipeline.files import storage
from pipeline.files.maps import decode_png, encode_png, quantise_saliency, quantise_variance
from pipeline.files.parquet import parquet_schema, read_parquet
from pipeline.files.tars import SampleTar, encode_json, samples_of
from pipeline.records import CandidateRow, ShardRecord, StoredFile
from pipeline.runs.binding import Bound, binding, maps_sha256

_REPAIR = "run jobs/verify_run.py {} --repair, and the shard is computed again"
_DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 in its name."""
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
        ("frame", pa.string()),
        ("exif_orientation", pa.int32()),
    ]
)
_EARLIER_SCHEMA = pa.schema([field for field in _ROW_SCHEMA if field.name not in ("frame", "exif_orientation")])


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
    values = [
        {name: getattr(row, name) for name in _ROW_SCHEMA.names} | {"scores": sorted(row.scores.items())}
        for row in rows
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(values, schema=_ROW_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def decode_rows(content: bytes) -> list[CandidateRow]:
    """Read the rows that `encode_rows` wrote, or wrote before they had frames."""
    is_earlier = parquet_schema(content).equals(_EARLIER_SCHEMA)
    table = read_parquet(content, _EARLIER_SCHEMA if is_earlier else _ROW_SCHEMA)
    return [CandidateRow(**row | {"scores": dict(row["scores"])}) for row in table.to_pylist()]


def commit_shard(
    run: str,
    shard: str,
    rows: Sequence[CandidateRow],
    members: Sequence[tuple[str, dict[str, bytes]]],
    *,
    made_with: str = "",
    before: ShardRecord | None = None,
) -> ShardRecord:
    """Publish a shard's tar and rows, then create its record.

    Args:    made_with: SHA-256 of the run's fingerprint.
             before: the record that the new one takes the place of; it counts until the new one exists.
    Returns: the record that counts: `before` if the rows have not changed, or the record of another process that has
             committed the shard in the meantime.
    """
    encoded = encode_rows(rows)
    if before is not None and storage.stored_file(before.rows.name, encoded) == before.rows:
        return before
    buffer = io.BytesIO()
    shard_tar = SampleTar(buffer)
    for key, contents in members:
        shard_tar.add(key, contents)
    shard_tar.close()
    failed = sum(row.status == "failed" for row in rows)
    record = ShardRecord(
        shard=shard,
        tar=_publish(run, shard, "tar", buffer.getvalue()),
        rows=_publish(run, shard, "parquet", encoded),
        done=len(rows) - failed,
        failed=failed,
        made_with=made_with,
        binding=binding_of(rows, dict(members)),
        number=before.number + 1 if before else 0,
    )
    if not storage.create(_record_url(run, shard, record.number), encode_json(asdict(record))):
        return read_shard_record(run, shard)
    if before is not None:
        for file in {before.tar, before.rows} - {record.tar, record.rows}:
            storage.remove(storage.join(run, "candidates", file.name))
    return record


def binding_of(rows: Sequence[CandidateRow], members: Mapping[str, Mapping[str, bytes]]) -> str:
    """The binding of a shard with these rows.

    Args: members: key → extension → content, for every predicted image.
    """
    return binding(
        Bound(
            key=row.key,
            image_sha256=row.image_sha256,
            maps_sha256=maps_sha256(members.get(row.key, {})),
            members=row.members,
            scores=row.scores,
        )
        for row in rows
        if row.status == "done"
    )


def create_again(run: str, record: ShardRecord) -> bool:
    """Create a shard's record once more, under the next number.

    Returns: False if that number is taken, and another record counts.
    """
    again = replace(record, number=record.number + 1)
    return storage.create(_record_url(run, again.shard, again.number), encode_json(asdict(again)))


def record_names(run: str, shards: Collection[str]) -> list[str]:
    """The names of all records of these shards, whether they count or not."""
    names = storage.list_names(storage.join(run, "commits"))
    return [name for name in names if name.partition(".")[0] in shards]


def _publish(run: str, shard: str, extension: str, content: bytes) -> StoredFile:
    digest = storage.stored_file("", content).sha256[:_DIGITS]
    return storage.publish(storage.join(run, "candidates", f"{shard}.{digest}.{extension}"), content)


def _record_url(run: str, shard: str, number: int) -> str:
    return storage.join(run, "commits", f"{shard}.{number}.json" if number else f"{shard}.json")


def committed_shards(run: str) -> dict[str, int]:
    """Shard → number of the record that counts, for every shard that has a record."""
    newest: dict[str, int] = {}
    for name in storage.list_names(storage.join(run, "commits")):
        shard, _, number = name.removesuffix(".json").partition(".")
        if name.endswith(".json") and (number.isdecimal() or not number):
            newest[shard] = max(newest.get(shard, 0), int(number or 0))
    return newest


def is_committed(run: str, shard: str) -> bool:
    """Whether the shard has a record."""
    return storage.exists(_record_url(run, shard, 0))


def read_shard_record(run: str, shard: str, number: int | None = None) -> ShardRecord:
    """Read the record of a committed shard.

    Args:   number: of the record that counts, if that is known (see `committed_shards`).
    Raises: StorageError: it is missing, is not a record, or belongs to another shard.
    """
    if number is None:
        number = 0
        while storage.exists(_record_url(run, shard, number + 1)):
            number += 1
    url = _record_url(run, shard, number)
    content = storage.read(url)
    try:
        values = parse_json(content)
        tar, rows = (StoredFile(**values.pop(name)) for name in ("tar", "rows"))
        record = ShardRecord(**values, tar=tar, rows=rows)
        named = (record.shard, record.number, *(re.sub(r"\.\w+(?=\.)", "", file.name) for file in (tar, rows)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(f"{url} is not a shard record ({error}): {_REPAIR.format(run)}") from error
    if named != (shard, number, f"{shard}.tar", f"{shard}.parquet"):
        raise StorageError(f"{url} is the record of another shard {named}: {_REPAIR.format(run)}")
    return record


def read_shard_records(run: str, shards: Sequence[str]) -> dict[str, ShardRecord]:
    """Read the records of many committed shards in parallel; shard → record, in their order.

    Raises: StorageError: as `read_shard_record`.
    """
    # A hundred at a time: on a local disk, handing one record to a thread took longer than reading it.
    hundreds = [shards[start : start + 100] for start in range(0, len(shards), 100)]
    newest = committed_shards(run)
    with ThreadPoolExecutor(_READERS) as pool:
        read = pool.map(
            lambda some: {shard: read_shard_record(run, shard, newest.get(shard, 0)) for shard in some}, hundreds
        )
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
