"""Parquet as `datasets` and the viewer of the Hugging Face Hub read it: columns `image`, `mask`, maps and all scores.

`load_dataset(FOLDER)` finds `data/SPLIT-00000-of-00003.parquet`, and learns from the metadata of the file which columns
are pictures.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.release.croissant_texts import pictures_of
from pipeline.release.export.layout import write
from pipeline.release.manifest import meanings_of, schema_of
from pipeline.release.mask_license import license_of_masks
from pipeline.release.opened import OpenedRelease, ReleasedSample
from pipeline.release.templates import as_text

FILE_BYTES = 500_000_000
"""A file is closed once its pictures have as many bytes. The Hub's viewer wants 300 to 500 MB."""
_ROWS_PER_GROUP = 100
"""As `datasets` itself writes pictures: a viewer reads a group at a time."""
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_LEFT_OUT = ("verdict", "reason", "detail", "tar", "sample_offset", "sample_bytes", "split")
"""Columns of the manifest that are the same for all accepted images, or that say where the release has them."""


class HuggingFaceParquet:
    """One row per accepted image."""

    def __init__(self, folder: Path, opened: OpenedRelease) -> None:
        self._folder, self._opened = folder, opened
        self._pictures = {name: extension for extension, (name, _) in pictures_of(opened.stated.release).items()}
        columns = [field for field in schema_of(opened.stated.columns) if field.name not in _LEFT_OUT]
        pictures = [pa.field(name, _PICTURE) for name in self._pictures]
        self._schema = pa.schema([*pictures, *columns], metadata={"huggingface": json.dumps(self._features(columns))})
        self._writers: dict[str, _Files] = {}

    def add(self, sample: ReleasedSample) -> None:
        """Write one row."""
        split = sample.row["split"]
        if split not in self._writers:
            self._writers[split] = _Files(self._folder / "data", split, self._schema)
        pictures = {
            name: {"bytes": sample.members[extension], "path": f"{sample.key}.{extension}"}
            for name, extension in self._pictures.items()
        }
        row = {name: sample.row.get(name) for name in self._schema.names if name not in pictures}
        self._writers[split].add(pictures | row, sum(map(len, sample.members.values())))

    def close(self) -> None:
        """End the files, and name them as loaders expect."""
        for files in self._writers.values():
            files.close()
        write(self._folder / "README.md", self._card().encode())

    def _features(self, columns: list[pa.Field]) -> dict[str, Any]:
        features: dict[str, Any] = {name: {"_type": "Image"} for name in self._pictures}
        for column in columns:
            if pa.types.is_list(column.type):
                features[column.name] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
            else:
                dtype = {"double": "float64"}.get(str(column.type), str(column.type))
                features[column.name] = {"dtype": dtype, "_type": "Value"}
        return {"info": {"features": features}}

    def _card(self) -> str:
        meanings = dict(pictures_of(self._opened.stated.release).values()) | meanings_of(self._opened.stated.columns)
        rows = [f"| `{name}` | {as_text(meanings[name])} |" for name in self._schema.names]
        about = f"# {self._opened.title}\n\nThe accepted images of {self._opened.title}, one row each, as parquet."
        found = license_of_masks(self._opened.stated.release)
        of_masks = f"Masks, maps and scores: [{found.name}]({found.url}), see `LICENSE`. " if found else ""
        terms = f"{of_masks}Every image keeps the licence of its owner."
        source = f"SHA-256 of the release's `release.json`: `{self._opened.sha256}`."
        return "\n".join([about, "", terms, "", source, "", "| column | meaning |", "|---|---|", *rows, ""])


class _Files:
    """The files of one split; their number is in their names, so they are named at the end."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema) -> None:
        self._folder, self._split, self._schema = folder, split, schema
        self._rows: list[dict[str, Any]] = []
        self._written: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._file_bytes = 0
        folder.mkdir(exist_ok=True)

    def add(self, row: dict[str, Any], picture_bytes: int) -> None:
        self._rows.append(row)
        self._file_bytes += picture_bytes
        if len(self._rows) == _ROWS_PER_GROUP or self._file_bytes >= FILE_BYTES:
            self._flush()
        if self._file_bytes >= FILE_BYTES:
            self._end()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._end()
        for place, path in enumerate(self._written):
            path.rename(self._folder / f"{self._split}-{place:05d}-of-{len(self._written):05d}.parquet")

    def _flush(self) -> None:
        if self._writer is None:
            path = self._folder / f"{self._split}-{len(self._written):05d}.parquet"
            self._written.append(path)
            # Pictures are compressed already.
            self._writer = pq.ParquetWriter(path, self._schema, compression="none")
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def _end(self) -> None:
        if self._writer:
            self._writer.close()
        self._writer, self._file_bytes = None, 0
