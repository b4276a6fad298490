"""Candidate shards: what was computed for each image, accepted or not, as a tar of maps and a parquet file of rows.

RUN/candidates/000042.DIGEST.tar       KEY.saliency.png, KEY.variance.png, KEY.json for every image that was predicted,
                                       and with --keep-members KEY.members.png, the members' masks side by side
RUN/candidates/000042.DIGEST.parquet   one row for every image of the shard, failed ones too
RUN/commits/000042.json                the shard's record, created last: without it the other two do not count

`commits.py` says what DIGEST and the records are.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from model.maps import encode_png, quantise_saliency, quantise_variance
from model.prediction import Prediction
from pipeline.errors import StorageError
from pipeline.files import storage
from pipeline.files.maps import decode_png, encode_masks
from pipeline.files.parquet import parquet_schema, read_parquet
from pipeline.files.tars import SampleTar, encode_json, samples_of
from pipeline.records import CandidateRow, ShardRecord
from pipeline.runs.binding import Bound, binding, kept_binding, maps_sha256
from pipeline.runs.commits import commit, publish_file

FOLDER = "candidates"
KEPT = "members.png"
"""Extension of the file of an image's kept members."""
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


def encode_members(row: CandidateRow, prediction: Prediction, *, keep: bool = False) -> dict[str, bytes]:
    """The tar members of one predicted image.

    Args: keep: the masks of its ensemble members too, those that `pairwise_iou` compares.
    """
    kept = {KEPT: encode_masks(prediction.members >= 0.5)} if keep else {}
    return {
        "saliency.png": encode_png(quantise_saliency(prediction.saliency)),
        "variance.png": encode_png(quantise_variance(prediction.variance)),
        **kept,
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
    folder = storage.join(run, FOLDER)
    failed = sum(row.status == "failed" for row in rows)
    record = ShardRecord(
        shard=shard,
        tar=publish_file(folder, shard, "tar", buffer.getvalue()),
        rows=publish_file(folder, shard, "parquet", encoded),
        done=len(rows) - failed,
        failed=failed,
        made_with=made_with,
        binding=binding_of(rows, dict(members)),
        kept=kept_binding_of(rows, dict(members)),
        number=before.number + 1 if before else 0,
    )
    return commit(run, record, before, FOLDER)


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


def kept_binding_of(rows: Sequence[CandidateRow], members: Mapping[str, Mapping[str, bytes]]) -> str:
    """The binding of the kept members of a shard with these rows; "" if there are none.

    Args: members: as for `binding_of`.
    """
    done = [row for row in rows if row.status == "done"]
    return kept_binding((row.key, row.image_sha256, members.get(row.key, {}).get(KEPT, b"")) for row in done)


def read_rows(run: str, record: ShardRecord) -> list[CandidateRow]:
    """Read the rows of a committed shard in key order, and check them against its record."""
    return decode_rows(storage.read_checked(storage.join(run, FOLDER, record.rows.name), record.rows))


def read_maps(run: str, record: ShardRecord) -> Iterator[tuple[str, CandidateMaps]]:
    """Key and stored maps of each predicted image of a committed shard in key order, checked against its record."""
    for key, members in sorted(read_members(run, record).items()):
        yield (
            key,
            CandidateMaps(saliency=decode_png(members["saliency.png"]), variance=decode_png(members["variance.png"])),
        )


def read_members(run: str, record: ShardRecord) -> dict[str, dict[str, bytes]]:
    """Key → extension → content of a committed shard's tar in its order, checked against its record.

    Raises: StorageError: the tar is missing, or is not the one that the record names.
    """
    if record.tar is None:
        raise StorageError(f"the record of shard {record.shard} in {run} names no tar: it is that of a score pass")
    return dict(samples_of(storage.read_checked(storage.join(run, FOLDER, record.tar.name), record.tar)))
