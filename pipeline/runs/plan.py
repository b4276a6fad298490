"""The plan of a run: samples cut into shard specs before any image is read, and the file that keeps them.

Pure: the plan depends on the samples and the shard size, not on the order of arrival or the number of workers.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pipeline.errors import FAILURE_REASONS, StorageError
from pipeline.records import Location, Sample, ShardSpec
from pipeline.shown import shown

if TYPE_CHECKING:
    import pyarrow

_LOCATION_FIELDS = ("path", "reader", "place", "part")
_EARLIER_FIELDS = ("path", "header_offset", "stored_bytes", "image_bytes", "compression", "crc32")
"""What earlier versions stored of a location: -1 as `header_offset` for a file, the place in a zip otherwise."""
_SAMPLE_FIELDS = ("key", "image_id", "file_name", "width", "height", "license_id", "problem", "problem_detail")
_TEXTS = frozenset({"key", "file_name", "problem", "problem_detail", "path", "reader", "part"})


def plan_shards(samples: Iterable[Sample], shard_size: int) -> tuple[ShardSpec, ...]:
    """Cut the samples, in key order, into shards of `shard_size` images; the last may have fewer.

    Raises: ValueError: `shard_size` is below 1, or two samples have the same key.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size is {shard_size}; at least 1 is needed")
    ordered = sorted(samples, key=lambda sample: sample.key)
    for first, second in pairwise(ordered):
        if first.key == second.key:
            raise ValueError(f"two samples have the key {first.key}: {first.file_name!r} and {second.file_name!r}")
    return tuple(
        ShardSpec(index=index, samples=tuple(ordered[start : start + shard_size]))
        for index, start in enumerate(range(0, len(ordered), shard_size))
    )


def plan_digest(specs: Sequence[ShardSpec]) -> str:
    """SHA-256, in hex, of everything in a plan that determines a release.

    Paths and offsets are left out: the same images give the same digest from a folder and from a zip. Problems in
    finding images are left out too: a file that was put back does not make another plan, and can be tried again.
    """
    digest = hashlib.sha256(b"plan 2\n")
    for spec in specs:
        for sample in spec.samples:
            image = (sample.key, sample.image_id, sample.file_name, sample.width, sample.height)
            line = json.dumps([spec.index, *image, sample.license_id])
            digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()


def encode_plan(specs: Sequence[ShardSpec]) -> bytes:
    """The plan as a parquet file, one row per sample; equal plans give equal bytes with one version of pyarrow.

    Passwords and signatures in the URLs of images are not stored; whoever reads the images has just found them again.
    Raises: ValueError: a shard has no samples, or shards are not in ascending order: rows could not tell.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    indices = [spec.index for spec in specs]
    if indices != sorted(set(indices)) or not all(spec.samples for spec in specs):
        raise ValueError("a plan has shards in ascending order, each with at least one sample")
    rows = [(spec.index, sample) for spec in specs for sample in spec.samples]
    columns: dict[str, list[Any]] = {"shard": [index for index, _ in rows]}
    for field in _SAMPLE_FIELDS:
        columns[field] = [getattr(sample, field) for _, sample in rows]
    for field in _LOCATION_FIELDS:
        columns[field] = [sample.location and getattr(sample.location, field) for _, sample in rows]
    columns["path"] = [path and shown(path) for path in columns["path"]]
    file = io.BytesIO()
    pq.write_table(pa.table(columns, schema=_schema()), file, compression="zstd")
    return file.getvalue()


def decode_plan(plan_bytes: bytes) -> tuple[ShardSpec, ...]:
    """Read the shard specs that `encode_plan` wrote.

    Raises: StorageError: the bytes are not a plan.
    """
    import pyarrow as pa

    from pipeline.files.parquet import read_parquet

    try:
        table = read_parquet(plan_bytes)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"plan of {len(plan_bytes)} bytes is not a parquet file: {error}; make it again") from error
    is_earlier = table.schema.equals(_schema(_EARLIER_FIELDS))
    if not is_earlier and not table.schema.equals(_schema()):
        raise StorageError(f"plan has the columns {table.schema.names}, not those of this version; make it again")
    rows = zip(*(table.column(name).to_pylist() for name in table.schema.names), strict=True)
    named = (dict(zip(table.schema.names, row, strict=True)) for row in rows)
    return tuple(
        ShardSpec(index=index, samples=tuple(_sample(row, is_earlier) for row in shard_rows))
        for index, shard_rows in groupby(named, key=itemgetter("shard"))
    )


def _schema(location_fields: Sequence[str] = _LOCATION_FIELDS) -> "pyarrow.Schema":
    import pyarrow as pa

    def column(field: str) -> "pyarrow.Field":
        kind = pa.list_(pa.int64()) if field == "place" else pa.string() if field in _TEXTS else pa.int64()
        # A sample that can't be found has no location: all its location fields are null.
        return pa.field(field, kind, nullable=field in location_fields)

    return pa.schema([column(field) for field in ("shard", *_SAMPLE_FIELDS, *location_fields)])


def _sample(row: dict[str, Any], is_earlier: bool) -> Sample:
    if row["problem"] and row["problem"] not in FAILURE_REASONS:
        raise StorageError(f"plan has the unknown problem {row['problem']!r} at {row['key']}; make it again")
    location = None if row["path"] is None else _location(row, is_earlier)
    return Sample(location=location, **{field: row[field] for field in _SAMPLE_FIELDS})


def _location(row: dict[str, Any], is_earlier: bool) -> Location:
    if not is_earlier:
        return Location(path=row["path"], reader=row["reader"], place=tuple(row["place"]), part=row["part"])
    if row["header_offset"] < 0:
        return Location(path=row["path"])
    return Location(path=row["path"], reader="zip", place=tuple(row[field] for field in _EARLIER_FIELDS[1:]))
