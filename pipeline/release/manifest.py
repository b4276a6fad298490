"""`manifest.parquet`: one row for every input image, accepted or not."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.collection.collection import NOBODY, License, Origin
from pipeline.collection.instances import UNCHECKED, CrossCheck
from pipeline.passes.folder import StatedPass, columns_of
from pipeline.records import CandidateRow, Sample, Verdict
from pipeline.release.released import NOT_RELEASED, Released
from pipeline.release.source import facts_of
from pipeline.selection.columns import Column, Text
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.scores import CROSS_CHECKS, SCORE_TABLE, SCORES, Score
from pipeline.selection.verdicts import Considered

MANIFEST = "manifest.parquet"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_id", pa.int64()),
        ("file_name", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("license_id", pa.int64()),
        ("license_name", pa.string()),
        ("license_url", pa.string()),
        ("author", pa.string()),
        ("source", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("image_sha256", pa.string()),
        ("image_bytes", pa.int64()),
        ("frame", pa.string()),
        ("exif_orientation", pa.int32()),
        ("released_as", pa.string()),
        ("released_sha256", pa.string()),
        ("released_bytes", pa.int64()),
        ("members", pa.int32()),
        ("fewer_at_once", pa.int32()),
        ("split", pa.string()),
        ("tar", pa.string()),
        ("sample_offset", pa.int64()),
        ("sample_bytes", pa.int64()),
        ("mask_sha256", pa.string()),
        ("maps_sha256", pa.string()),
        *((name, pa.float64()) for name in SCORE_TABLE),
        ("categories", pa.list_(pa.string())),
        ("supercategory", pa.string()),
        ("instances_ignored", pa.int64()),
    ]
)
"""Numbers from annotations may be absurd, so they get 64 bits."""
_SINCE_3 = ("author", "source", "instances_ignored", "maps_sha256")
_SINCE_4 = ("frame", "exif_orientation", "released_as", "released_sha256", "released_bytes")
_SINCE_6 = ("sample_offset", "sample_bytes")
_SCHEMA_5 = pa.schema([field for field in SCHEMA if field.name not in _SINCE_6])
_SCHEMA_3 = pa.schema([field for field in _SCHEMA_5 if field.name not in _SINCE_4])
_SCHEMA_2 = pa.schema([field for field in _SCHEMA_3 if field.name not in _SINCE_3])
_SCHEMAS = {2: _SCHEMA_2, 3: _SCHEMA_3, 4: _SCHEMA_5, 5: _SCHEMA_5}
COLUMNS = {
    "key": "Name of the image in this release: its id in the collection, padded to 12 digits, or made from its "
    "file's name if the collection has no annotations.",
    "image_id": "Id of the image in the collection, or made from its file's name.",
    "file_name": "Name of the image's file in the collection.",
    "width": "Width of the image in pixels, according to the collection's annotations, or to its file without any.",
    "height": "Height of the image in pixels, according to the collection's annotations, or to its file without any.",
    "license_id": "Number of the image's licence in the collection; 0 if none is known.",
    "license_name": "Name of that licence; empty if the collection does not name it.",
    "license_url": "Address of that licence; empty if the collection does not give one.",
    "author": "Author of the image, whom to attribute it to; empty if the collection does not name one.",
    "source": "Address or words that say where the image comes from; empty if the collection does not.",
    "verdict": "Outcome for the image: accepted, rejected or failed.",
    "reason": "Why the image was not accepted; empty if it was.",
    "detail": "What was wrong with a failed image; empty for others.",
    "image_sha256": "SHA-256 of the image's file in the collection, in hexadecimal; empty if it could not be read.",
    "image_bytes": "Size of that file in bytes.",
    "frame": "Whether maps and mask lie on the pixels as stored in that file or turned upright; empty if it failed.",
    "exif_orientation": "Orientation that the file states in its metadata, 1 to 8; 0 if the image failed.",
    "released_as": "What was done to that file: original, orientation_neutralised, turned_png or png (a PNG of the "
    "pixels that were segmented); empty if no tar contains it.",
    "released_sha256": "SHA-256 of the image in its tar, in hexadecimal; empty if no tar contains it.",
    "released_bytes": "Size of the image in its tar in bytes; 0 if no tar contains it.",
    "members": "Number of ensemble members that predicted the image; 0 if it failed.",
    "fewer_at_once": "Members per pass after memory ran out, which may change last bits of maps; 0 if it never did.",
    "split": "Split of an accepted image; empty for others.",
    "tar": "Tar that contains an accepted image, relative to the release; empty for others.",
    "sample_offset": "Byte of that tar at which the files of an accepted image begin; 0 for others.",
    "sample_bytes": "Bytes from there to the end of its files, headers included: one range to ask a server for; 0 for "
    "others.",
    "mask_sha256": "SHA-256 of an accepted image's mask PNG, in hexadecimal; empty for others.",
    "maps_sha256": "SHA-256 of the SHA-256 sums of a predicted image's saliency PNG and variance PNG, in hexadecimal; "
    "empty if it failed.",
    **{name: f"{SCORE_TABLE[name].meaning.capitalize()}; null if the image failed." for name in SCORES},
    **{
        name: f"{SCORE_TABLE[name].meaning.capitalize()}; null if the image failed or has no such instances."
        for name in CROSS_CHECKS
    },
    "categories": "Categories of the instances in that union, the one with the most pixels in the mask comes first.",
    "supercategory": "Supercategory of the first of those instances; empty if unknown.",
    "instances_ignored": "Annotated instances not compared, as their outlines are missing or invalid; 0 if it failed.",
}
"""Column of every manifest → its meaning, in one sentence."""


SCENE = Text(
    name="scene",
    meaning="what an accepted image shows: object, or empty if it shows no salient object and has an empty mask; empty "
    "text for others",
)
"""The last column of a manifest whose release keeps empty scenes."""


def added_columns(passes: Iterable[StatedPass], policy: PolicyConfig) -> tuple[Column, ...]:
    """The columns of a manifest that not every one has."""
    return (*columns_of(passes), *((SCENE,) if policy.keep_empty else ()))


def schema_of(columns: Iterable[Column] = (), release_format: int | None = None) -> pa.Schema:
    """The columns of a manifest: those that every one has, then `added_columns`.

    Args: release_format: of an earlier release.
    """
    added = [pa.field(column.name, pa.float64() if isinstance(column, Score) else pa.string()) for column in columns]
    return pa.schema([*_SCHEMAS.get(release_format or 0, SCHEMA), *added])


def meanings_of(columns: Iterable[Column] = ()) -> dict[str, str]:
    """Column of a manifest → its meaning, in one sentence."""
    meanings = {}
    for column in columns:
        meaning = column.meaning.rstrip(".")
        null = f"; null if the pass {column.of_pass} has no value" if column.of_pass else ""
        meanings[column.name] = f"{meaning[0].upper()}{meaning[1:]}{null}."
    return COLUMNS | meanings


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a release has an accepted image."""

    split: str
    tar: str
    """Name relative to the release."""
    sample_offset: int = 0
    """Byte of the tar at which the image's files begin."""
    sample_bytes: int = 0
    """Bytes that they take in the tar."""
    mask_sha256: str
    """SHA-256 of the mask's PNG."""
    released: Released = NOT_RELEASED
    """What it has of the image's own file."""


NOWHERE = Place(split="", tar="", mask_sha256="")


def manifest_row(
    sample: Sample,
    row: CandidateRow,
    licence: License,
    verdict: Verdict,
    place: Place = NOWHERE,
    checked: CrossCheck = UNCHECKED,
    maps_sha256: str = "",
    *,
    added: Mapping[str, float | str | None] = MappingProxyType({}),
    origin: Origin = NOBODY,
    instances_ignored: int = 0,
) -> dict[str, Any]:
    """Make the manifest's row of an input image; columns in the order of SCHEMA, then those of score passes.

    Args: added: what score passes have found, and `SCENE` if the release has it.
    """
    values = {
        **facts_of(sample, row, licence),
        "author": origin.author,
        "source": origin.source,
        "verdict": verdict.decision,
        "reason": verdict.reason,
        "detail": row.detail,
        "image_bytes": row.image_bytes,
        "frame": row.frame,
        "exif_orientation": row.exif_orientation,
        "released_as": place.released.released_as,
        "released_sha256": place.released.sha256,
        "released_bytes": place.released.file_bytes,
        "fewer_at_once": row.fewer_at_once,
        "split": place.split,
        "tar": place.tar,
        "sample_offset": place.sample_offset,
        "sample_bytes": place.sample_bytes,
        "mask_sha256": place.mask_sha256,
        "maps_sha256": maps_sha256,
        **{name: row.scores.get(name) for name in SCORES},
        **{name: getattr(checked, name) for name in CROSS_CHECKS},
        "categories": list(checked.categories),
        "supercategory": checked.supercategory,
        "instances_ignored": instances_ignored,
    }
    return {name: values[name] for name in SCHEMA.names} | dict(added)


def encode_manifest(rows: Sequence[Mapping[str, Any]], mixed: str = "", columns: Iterable[Column] = ()) -> bytes:
    """Encode the parquet file; equal rows give equal bytes.

    Args: columns: see `added_columns`.
          mixed: machines that took part although they differed; the file's metadata has it under this name.
    """
    buffer = io.BytesIO()
    schema = schema_of(columns)
    if mixed:
        schema = schema.with_metadata({"mixed": mixed})
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def measured_scores(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The scores of a prediction that the run of a manifest has measured: all of SCORES, but in a manifest of a run of
    an earlier version, which had fewer. No predicted image has a value of the others.
    """
    predicted = [row for row in rows if row["verdict"] != "failed"]
    return tuple(name for name in SCORES if not predicted or any(row.get(name, 0) is not None for row in predicted))


def unmeasured(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Score → what there is to say of its column, for scores that the run has not measured."""
    found = measured_scores(rows)
    return {
        name: f"{SCORE_TABLE[name].meaning.capitalize()}; null, as the run was made by an earlier version, which did "
        "not measure it."
        for name in SCORES
        if name not in found
    }


def considered_of(row: Mapping[str, Any], table: Iterable[str] = SCORE_TABLE) -> Considered:
    """Read back from a row what its verdict depends on.

    Args: table: names of all scores of the manifest.
    """
    failed = row["verdict"] == "failed"
    return Considered(
        key=row["key"],
        failure=row["reason"] if failed else "",
        scores={} if failed else {name: row[name] for name in table},
        license_id=row["license_id"],
        license_url=row["license_url"],
        supercategory=row["supercategory"],
        image_px=row["width"] * row["height"],
    )
