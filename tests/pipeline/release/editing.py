"""Edits a release like a skilled forger: the sums of edited files are updated too."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files.tars import encode_json
from pipeline.records import StoredFile
from pipeline.release.contents import sha256_sums


def mend_sums(folder):
    """Update the sums of all files after one was edited."""
    stated = json.loads((folder / "release.json").read_text())
    stated["files"].sort(key=lambda file: (file["name"] == "SHA256SUMS", file["name"]))
    for file in stated["files"]:
        if file["name"] == "SHA256SUMS":
            others = [StoredFile(**other) for other in stated["files"] if other is not file]
            (folder / file["name"]).write_bytes(sha256_sums(others))
        content = (folder / file["name"]).read_bytes()
        file |= {"file_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "release.json").write_bytes(encode_json(stated))


def edit_manifest(folder, edit):
    table = pq.read_table(folder / "manifest.parquet")
    rows = table.to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "manifest.parquet")
    mend_sums(folder)
