"""Edits a release like a skilled forger: whatever follows from an edited file is made anew too."""

import hashlib
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files.maps import decode_png
from pipeline.files.tars import SampleTar, encode_json, samples_of
from pipeline.records import StoredFile
from pipeline.release.check.release_json import parse_release_json
from pipeline.release.check.samples import sample_bytes_of
from pipeline.release.check.texts import derived_files, sheets_of
from pipeline.release.coco_json import encode_mask
from pipeline.release.contents import sha256_sums
from pipeline.release.manifest import schema_of
from pipeline.release.page.files import SCRIPTS
from pipeline.release.page.tiles import LAYOUT_BEFORE_6, encode_webp


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


def edit_tar(folder, edit, tar_name="data/test/test-00000-of-00001.tar"):
    """Rewrite a split's only tar with other samples: `edit` takes and returns a list of (key, members)."""
    samples = edit(list(samples_of((folder / tar_name).read_bytes())))
    buffer = io.BytesIO()
    tar = SampleTar(buffer)
    for key, members in samples:
        tar.add(key, members)
    tar.close()
    write_tar(folder, buffer.getvalue(), len(samples), tar_name)


def write_tar(folder, content, samples, tar_name="data/test/test-00000-of-00001.tar"):
    """Put these bytes in place of a split's only tar."""
    (folder / tar_name).write_bytes(content)
    path = (folder / tar_name).parent / "index.json"
    index = json.loads(path.read_text())
    index["shardlist"][0] |= {
        "filesize": len(content),
        "nsamples": samples,
        "md5sum": hashlib.md5(content).hexdigest(),
    }
    path.write_bytes(encode_json(index))
    mend_sums(folder)


def forge(folder, edit):
    """Change samples and their rows, and then everything that anybody could make from them.

    Args: edit: changes two dictionaries, key → members and key → row.
    """
    rows = {row["key"]: row for row in pq.read_table(folder / "manifest.parquet").to_pylist()}

    def edit_samples(samples):
        found = dict(samples)
        edit(found, rows)
        for key, members in found.items():
            rows[key]["mask_sha256"] = hashlib.sha256(members["mask.png"]).hexdigest()
            facts = json.loads(members["json"])
            facts = {name: rows[key].get(name) for name in facts} | {
                "scores": {name: rows[key][name] for name in facts["scores"]}
            }
            found[key] = members | {"json": encode_json(facts)}
        offset = 0
        for key, members in found.items():
            rows[key] |= {"sample_offset": offset, "sample_bytes": sample_bytes_of(members)}
            offset += rows[key]["sample_bytes"]
        return list(found.items())

    edit_tar(folder, edit_samples)
    edit_manifest(folder, lambda old: old.__setitem__(slice(None), rows.values()))
    _mend_annotations(folder, rows)
    mend_texts(folder)


def mend_texts(folder):
    """Make page, card, NOTICE and Croissant anew from manifest and release.json."""
    for _ in range(2):  # Croissant has the sums of others
        stated = parse_release_json((folder / "release.json").read_bytes(), print)
        rows = pq.read_table(folder / "manifest.parquet").to_pylist()
        for name, content in derived_files(rows, stated).items():
            if (folder / name).read_bytes() != content and name.removeprefix("page/") not in SCRIPTS:
                (folder / name).write_bytes(content)
        mend_sums(folder)


def make_format(folder, number):
    """Make a release what an earlier version of the tool wrote: format 3, 4 or 5."""
    _write_format(folder, number)
    mend_sums(folder)
    mend_texts(folder)


def make_format_2(folder):
    """Make a release what even earlier versions of the tool wrote."""
    annotations = folder / "annotations" / "test.json"
    document = json.loads(annotations.read_text())
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        image["file_name"] = image.pop("collection_file_name")
        annotation["id"] = annotation["image_id"]
    annotations.write_text(json.dumps(document))
    (folder / "licenses.csv").write_bytes((folder / "licenses.csv").read_bytes().replace(b"key-", b""))
    _write_format(folder, 2)
    mend_sums(folder)
    mend_texts(folder)


def _write_format(folder, number):
    table = pq.read_table(folder / "manifest.parquet")
    pq.write_table(table.select(schema_of((), number).names), folder / "manifest.parquet")
    stated = json.loads((folder / "release.json").read_text())
    if number == 2:
        del stated["shards"]
    (folder / "LICENSE").unlink()
    publication = stated["made_from"]["publication"]
    for name in publication.keys() - {"creator", "published_on", "homepage"}:
        del publication[name]
    sheets = {file["name"] for file in stated["files"] if file["name"].endswith(".webp")}
    stated["files"] = [file for file in stated["files"] if file["name"] not in {"LICENSE", *sheets}]
    for name in sheets:
        (folder / name).unlink()
    rows = {row["key"]: row for row in table.to_pylist()}
    for name, tiles in sheets_of(rows, LAYOUT_BEFORE_6).items():
        width, height = LAYOUT_BEFORE_6.size_px(tiles)
        (folder / name).write_bytes(encode_webp(np.zeros((height, width, 3), dtype=np.uint8)))
        stated["files"].append({"name": name, "file_bytes": 0, "sha256": ""})
    (folder / "release.json").write_bytes(encode_json(stated | {"format": number, "texts": "0" * 64}))


def _mend_annotations(folder, rows):
    path = folder / "annotations" / "test.json"
    document = json.loads(path.read_text())
    masks = dict(samples_of(next((folder / "data" / "test").glob("*.tar")).read_bytes()))
    keys = {row["image_id"]: key for key, row in rows.items()}
    for annotation in document["annotations"]:
        mask = encode_mask(decode_png(masks[keys[annotation["image_id"]]]["mask.png"]) == 255)
        annotation["segmentation"]["counts"] = mask.counts
        annotation |= {"area": mask.area_px, "bbox": list(mask.bbox)}
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    mend_sums(folder)
