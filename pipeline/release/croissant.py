"""`croissant.json` (Croissant 1.0): tells programs which files a release has and which records they contain.

We write it as plain JSON; mlcroissant only checks it (`check/loaders.py`). The limits of mlcroissant 1.1.1 explain two
choices:

- Every split has a record set of its own, `images-SPLIT`, instead of one record set with a split field: filtering works
  only if the split is in the name of a file inside the tar, and reading one split should not read the tars of another.
- It joins two sources at a time, with one file per record. So the pictures of a sample are joined in steps, in record
  sets named `images-SPLIT-step-1` and so on, which users can ignore.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.config import ReleaseConfig
from pipeline.records import StoredFile
from pipeline.release.croissant_texts import PICTURES, CroissantAbout, description, pictures_of, responsible_ai
from pipeline.release.manifest import MANIFEST, added_columns, meanings_of, schema_of
from pipeline.release.mask_license import license_of_masks
from pipeline.release.sources import bibtex_of
from pipeline.selection.policy import SPLITS

CROISSANT = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
"""1.0, not 1.1: in a 1.1 document, mlcroissant 1.1.1 loses which tar a file is in and finds no records."""
FORMATS = {
    "tar": "application/x-tar",
    "parquet": "application/x-parquet",  # mlcroissant does not know application/vnd.apache.parquet, the registered type
    "json": "application/json",
    "csv": "text/csv",
}
"""File suffix → media type."""
_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS},
}
"""The complete context of every Croissant 1.0 document: mlcroissant warns about missing terms."""
_NOT_IN_IMAGES = ("key", "verdict", "reason", "detail")
"""Manifest columns left out of image records: the key, which they have already, and what is equal for all of them."""


def croissant(about: CroissantAbout, files: Sequence[StoredFile], release: str = "") -> bytes:
    """Encode the document.

    Args:   files: the files to describe (manifest, tars, annotations, licences); names are relative to the release.
            release: where the release is, seen from the document: "" beside it, `../../` from an annex.
    Raises: ValueError: the suffix of a file is not in FORMATS, or the manifest is not among the files.
    """
    tars = tars_by_split(files)
    if MANIFEST not in {file.name for file in files}:
        raise ValueError(f"{MANIFEST} is not among the files to describe: {[file.name for file in files]}")
    added = added_columns(about.passes, about.policy)
    columns = _Columns(schema=schema_of(added), meanings=meanings_of(added))
    pictures = list(pictures_of(about.release))
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": about.release.name,
        "version": about.release.version,
        "description": description(about),
        "conformsTo": CONFORMS_TO,
        "license": [*_license_of_masks(about.release), _LICENSE_OF_IMAGES],
        "citeAs": bibtex_of(about.release, about.made_with),
        "keywords": ["salient object detection", "image segmentation", "pseudo-labels"],
        **_known_to_the_publisher(about.release),
        **responsible_ai(about),
        "distribution": [
            *(_file_object(file, release) for file in files),
            *(_file_set(split, extension, tars[split]) for split in tars for extension in pictures),
        ],
        "recordSet": [
            _record_set(
                "manifest",
                "Every input image, accepted or not.",
                [columns.field("manifest", name) for name in columns.schema.names],
            ),
            *(step for split in tars for step in _images(split, pictures, columns)),
        ],
    }
    return json.dumps(document, indent=1).encode("ascii")  # mlcroissant reads it with the machine's encoding


def images_of(split: str) -> str:
    """Name of the record set that has the accepted images of a split."""
    return f"images-{split}"


def tars_by_split(files: Sequence[StoredFile]) -> dict[str, list[str]]:
    """Split → its tars, in order; splits without tars are left out."""
    tars: dict[str, list[str]] = {}
    for split in SPLITS:
        names = [file.name for file in files if file.name.startswith(f"data/{split}/") and file.name.endswith(".tar")]
        if names:
            tars[split] = sorted(names)
    return tars


_LICENSE_OF_IMAGES = {
    "@type": "sc:CreativeWork",
    "name": "per image",
    "description": "Every image keeps the licence of its owner: licenses.csv lists them, NOTICE sums them up.",
}


def _license_of_masks(release: ReleaseConfig) -> Iterator[dict[str, str]]:
    if found := license_of_masks(release):
        yield {
            "@type": "sc:CreativeWork",
            "name": release.mask_license,
            "url": found.url,
            "description": "Licence of masks, maps and scores; LICENSE says what it does not cover.",
        }


def _known_to_the_publisher(release: ReleaseConfig) -> dict[str, Any]:
    """What only the publisher knows. Left out if not given, although mlcroissant then warns."""
    known = {
        "creator": {"@type": "sc:Organization", "name": release.creator} if release.creator else None,
        "datePublished": release.published_on,
        "url": release.homepage,
    }
    return {name: value for name, value in known.items() if value}


def _file_object(file: StoredFile, release: str) -> dict[str, Any]:
    suffix = file.name.rpartition(".")[2]
    if suffix not in FORMATS:
        raise ValueError(f"{file.name} can't be described: its suffix is not one of {', '.join(FORMATS)}")
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name.rpartition("/")[2],
        "contentUrl": f"{release}{file.name}",
        "contentSize": f"{file.file_bytes} B",
        "encodingFormat": FORMATS[suffix],
        "sha256": file.sha256,
    }


def _file_set(split: str, extension: str, tars: Sequence[str]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{split}-{extension}",
        "description": PICTURES[extension][1],
        "containedIn": [{"@id": tar} for tar in tars],
        "encodingFormat": "image/jpeg" if extension == "jpg" else "image/png",
        "includes": f"*.{extension}",
    }


def _images(split: str, pictures: Sequence[str], columns: "_Columns") -> Iterator[dict[str, Any]]:
    """Make the record set of a split's accepted images, preceded by the steps that join their pictures."""
    name = images_of(split)
    before, gathered = "", list[str]()
    for number, extension in enumerate(reversed(pictures), start=1):
        step = f"{name}-step-{number}"
        key = _file_name(f"{split}-{extension}", before)
        content = {"fileSet": {"@id": f"{split}-{extension}"}, "extract": {"fileProperty": "content"}}
        fields = [
            _field(step, "key", columns.meanings["key"], "sc:Text", **key),
            _image_field(step, extension, content),
        ]
        yield _record_set(
            step,
            f"An intermediate step for {name}, which has everything in it.",
            [*fields, *(_carried(step, before, extension) for extension in gathered)],
        )
        before, gathered = step, [extension, *gathered]
    key = {"source": {"field": {"@id": f"{before}/key"}}, "references": _in_manifest("key")}
    yield _record_set(
        name,
        f"The accepted images of the split {split}: pictures from the tars, facts from the manifest.",
        [
            _field(name, "key", columns.meanings["key"], "sc:Text", **key),
            *(_carried(name, before, extension) for extension in gathered),
            *(columns.field(name, column) for column in columns.schema.names if column not in _NOT_IN_IMAGES),
        ],
    )


def _file_name(file_set: str, joined_with: str) -> dict[str, Any]:
    """Take the key of a sample from a file's name; join on keys with the record set `joined_with`, if any."""
    source = {
        "fileSet": {"@id": file_set},
        "extract": {"fileProperty": "filename"},
        "transform": {"regex": "^([^.]+)"},  # must keep keys as they are: mlcroissant also applies it to its own result
    }
    references = {"references": {"field": {"@id": f"{joined_with}/key"}}} if joined_with else {}
    return {"source": source, **references}


def _carried(record_set: str, before: str, extension: str) -> dict[str, Any]:
    return _image_field(record_set, extension, {"field": {"@id": f"{before}/{PICTURES[extension][0]}"}})


def _image_field(record_set: str, extension: str, source: Mapping[str, Any]) -> dict[str, Any]:
    name, meaning = PICTURES[extension]
    kind = ["sc:ImageObject", "cr:SegmentationMask"] if name.startswith("mask") else "sc:ImageObject"
    return _field(record_set, name, meaning, kind, source=source)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The columns of the manifest."""

    schema: pa.Schema
    meanings: Mapping[str, str]

    def field(self, record_set: str, name: str) -> dict[str, Any]:
        """A field that has the values of a column."""
        kind, is_list = self.schema.field(name).type, False
        if pa.types.is_list(kind):
            kind, is_list = kind.value_type, True
        is_float, is_integer = pa.types.is_floating(kind), pa.types.is_integer(kind)
        data_type = "sc:Float" if is_float else "sc:Integer" if is_integer else "sc:Text"
        repeated = {"repeated": True} if is_list else {}
        return _field(record_set, name, self.meanings[name], data_type, source=_in_manifest(name), **repeated)


def _in_manifest(column: str) -> dict[str, Any]:
    return {"fileObject": {"@id": MANIFEST}, "extract": {"column": column}}


def _record_set(name: str, meaning: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": meaning,
        "key": {"@id": f"{name}/key"},
        "field": list(fields),
    }


def _field(record_set: str, name: str, meaning: str, data_type: str | list[str], **origin: Any) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": name,
        "description": meaning,
        "dataType": data_type,
        **origin,
    }
