"""`manifest.parquet`: one row for every input image, accepted or not."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.coco import License
from pipeline.records import CandidateRow, Sample, Verdict
from pipeline.release.licenses import license_of
from pipeline.scores import SCORES

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
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("image_sha256", pa.string()),
        ("image_bytes", pa.int64()),
        ("members", pa.int32()),
        ("fewer_at_once", pa.int32()),
        ("split", pa.string()),
        ("tar", pa.string()),
        ("mask_sha256", pa.string()),
        *((name, pa.float64()) for name in SCORES),
    ]
)
"""`verdict` is accepted, rejected or failed, `reason` says why not; scores are null for failed images; `split`, `tar`
and `mask_sha256` are empty unless accepted. `fewer_at_once` is not 0 if memory ran out and only so many members could
be predicted at once. What an annotation claims may be absurd, so it gets 64 bits."""


class Manifest:
    """Collects rows in key order, and where accepted images were put."""

    def __init__(self, licenses: Mapping[int, License]) -> None:
        self._licenses = licenses
        self._places: dict[str, tuple[str, int, str]] = {}
        self._rows: list[dict[str, Any]] = []

    def place(self, key: str, split: str, tar_index: int, mask_sha256: str) -> None:
        """Say in which split and which of its tars an accepted image is, and the digest of its mask PNG."""
        self._places[key] = (split, tar_index, mask_sha256)

    def add(self, sample: Sample, row: CandidateRow, verdict: Verdict) -> None:
        """Add an input image."""
        licence = license_of(sample, self._licenses)
        self._rows.append(
            {
                "key": sample.key,
                "image_id": sample.image_id,
                "file_name": sample.file_name,
                "width": sample.width,
                "height": sample.height,
                "license_id": sample.license_id,
                "license_name": licence.name,
                "license_url": licence.url,
                "verdict": verdict.decision,
                "reason": verdict.reason,
                "detail": row.detail,
                "image_sha256": row.image_sha256,
                "image_bytes": row.image_bytes,
                "members": row.members,
                "fewer_at_once": row.fewer_at_once,
                **{name: row.scores.get(name) for name in SCORES},
            }
        )

    def encode(self, tar_names: Mapping[str, Sequence[str]]) -> bytes:
        """The parquet file; `tar_names` has those of each split, in their order. Equal rows give equal bytes."""
        for row in self._rows:
            split, tar_index, mask_sha256 = self._places.get(row["key"], ("", -1, ""))
            tar = tar_names[split][tar_index] if split else ""
            row |= {"split": split, "tar": tar, "mask_sha256": mask_sha256}
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA), buffer, compression="zstd")
        return buffer.getvalue()
