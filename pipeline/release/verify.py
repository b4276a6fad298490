"""What a suspicious stranger checks of a release: every byte against its sums, and every file against the others.

Sums alone show damage; whoever edits a file can mend its sum too. So masks, run lengths, manifest, licences and card
are compared with each other as well. `release.json` has the sums of all: compare its own with the one you were told.
"""

import csv
import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import yaml

from pipeline import storage
from pipeline.coco import read_annotations
from pipeline.errors import CollectionError, StorageError, StorageUnavailableError
from pipeline.parquet import read_parquet
from pipeline.records import FileRecord
from pipeline.release.assemble import RECORD, SUMS, sha256_sums
from pipeline.release.licenses import COLUMNS
from pipeline.release.manifest import SCHEMA
from pipeline.release.verify_samples import FoundSample, check_sample, mask_against
from pipeline.tars import samples_of
from pipeline.verify import Problem

_UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, pa.ArrowException, tarfile.TarError,
    csv.Error, yaml.YAMLError,
)  # fmt: skip
"""What readers raise at files that are not what they should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCheck:
    """What a check of a release found."""

    name: str
    version: str
    sha256: str
    """Of `release.json`, which has the sums of all other files: the identity of the release."""
    images: int
    """Rows of the manifest."""
    accepted: int
    """Samples in the tars."""
    problems: tuple[Problem, ...]


def verify_release(
    release: str, annotations: str = "", report: Callable[[str], None] = lambda tar: None
) -> ReleaseCheck:
    """Check a release, reading every byte once.

    Args:    release: folder or URL.
             annotations: COCO annotation JSON that the images are said to come from, to compare ids, names and sizes.
             report: called with the name of each tar, before it is read.
    Raises:  CollectionError: there is no release. StorageUnavailableError, OSError: a file can't be read now.
    """
    url = storage.join(release, RECORD)
    if not storage.exists(url):
        raise CollectionError(f"{release} is no complete release: there is no {RECORD}, which is written last")
    check = _Check(release)
    content = storage.read(url)
    record: dict[str, Any] = {}
    with check.readable(RECORD):
        record |= json.loads(content)
        check.files = {file["name"]: FileRecord(**file) for file in record["files"]}
        check.embedded = bool(record["made_from"]["embed_images"])
    check.all(record, annotations, report)
    return ReleaseCheck(
        name=str(record.get("name", "")),
        version=str(record.get("version", "")),
        sha256=hashlib.sha256(content).hexdigest(),
        images=len(check.rows),
        accepted=len(check.samples),
        problems=tuple(check.problems),
    )


def stray_files(release: str, known: Collection[str]) -> Iterator[str]:
    """Files and folders, hidden ones too, in the folders of the known files that are none of them."""
    folders = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    for folder in sorted(folders):
        prefix = "" if folder == "." else f"{folder}/"
        for name in storage.list_names(storage.join(release, prefix), hidden=True):
            if prefix + name not in folders and prefix + name not in known:
                yield prefix + name


@dataclass(slots=True)
class _Check:
    """A release as far as it has been read."""

    release: str
    embedded: bool = True
    files: dict[str, FileRecord] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, FoundSample] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def all(self, record: Mapping[str, Any], annotations: str, report: Callable[[str], None]) -> None:
        self._names()
        self._manifest(record)
        for name in [name for name in self.files if name.endswith(".tar")]:
            report(name)
            self._tar(name)
        self._placed()
        for name in [name for name in self.files if name.startswith("annotations/")]:
            self._annotations(name)
        for name in [name for name in self.files if name.endswith("/index.json")]:
            self._index(name)
        self._licenses()
        self._card()
        self._content("NOTICE")
        sums = self._content(SUMS)
        others = [file for name, file in sorted(self.files.items()) if name != SUMS]
        if sums is not None and sums != sha256_sums(others):
            self.tell(SUMS, f"the sums are not those of {RECORD}")
        if annotations:
            self._collection(annotations)

    def tell(self, where: str, what: str) -> None:
        self.problems.append(Problem(where=where, what=what))

    @contextmanager
    def readable(self, where: str) -> Iterator[None]:
        """What can't be read as what it should be is a problem, and no more."""
        try:
            yield
        except _UNREADABLE as error:
            self.tell(where, f"can't be read as what it should be: {type(error).__name__}: {str(error)[:200]}")

    def _content(self, name: str) -> bytes | None:
        """A file, if it is the one that was recorded."""
        if name not in self.files:
            self.tell(name, f"is not in {RECORD}, and belongs to every release")
            return None
        try:
            return storage.read_checked(storage.join(self.release, name), self.files[name])
        except StorageUnavailableError:
            raise
        except StorageError as error:
            self.tell(name, str(error).removesuffix(". Delete the record to have the file made again"))
            return None

    def _names(self) -> None:
        """Names stay below the release, and nothing is there that has none."""
        for name in list(self.files):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name or name == RECORD:
                self.tell(RECORD, f"names a file {name!r}, which is no name of a file of a release")
                del self.files[name]
        for name in stray_files(self.release, {RECORD, *self.files}):
            self.tell(name, f"is there, but not in {RECORD}")

    def _manifest(self, record: Mapping[str, Any]) -> None:
        content = self._content("manifest.parquet")
        if content is None:
            return
        with self.readable("manifest.parquet"):
            table = read_parquet(content)
            if not table.schema.equals(SCHEMA):
                self.tell("manifest.parquet", f"its columns, or their types, are others: {table.schema.names}")
                return
            rows = table.to_pylist()
            self.rows = {row["key"]: row for row in rows}
            if len(self.rows) != len(rows):
                doubled = [key for key, count in Counter(row["key"] for row in rows).items() if count > 1]
                self.tell("manifest.parquet", f"{len(doubled)} keys come twice, {doubled[0]} for example")
            counts = dict(Counter(row["verdict"] for row in rows))
            if counts != record.get("counts"):
                self.tell("manifest.parquet", f"has {counts} images, {RECORD} says {record.get('counts')}")

    def _tar(self, name: str) -> None:
        content = self._content(name)
        if content is None:
            return
        with self.readable(name):
            for key, members in samples_of(content):
                if key in self.samples:
                    self.tell(name, f"{key} is there already, in {self.samples[key].tar}")
                elif key not in self.rows:
                    self.tell(name, f"{key} is not in the manifest")
                else:
                    row = self.rows[key]
                    self.samples[key] = check_sample(
                        key, members, row, name, self.embedded, lambda what: self.tell(name, what)
                    )

    def _placed(self) -> None:
        """Accepted images, and no others, are where the manifest says."""
        for key, row in self.rows.items():
            found = self.samples.get(key)
            if row["verdict"] != "accepted":
                if found or row["tar"] or not row["reason"]:
                    self.tell("manifest.parquet", f"{key} is {row['verdict']}, but has a sample, or no reason")
            elif found is None:
                self.tell("manifest.parquet", f"{key} is accepted, but no tar has it")
            elif (found.tar, found.mask_sha256) != (row["tar"], row["mask_sha256"]):
                self.tell("manifest.parquet", f"{key}: its tar or the sum of its mask is not what the tars have")
            elif PurePosixPath(found.tar).parts[1] != row["split"]:
                self.tell("manifest.parquet", f"{key}: split {row['split']!r}, but it is in {found.tar}")

    def _annotations(self, name: str) -> None:
        content = self._content(name)
        if content is None:
            return
        split = PurePosixPath(name).stem
        with self.readable(name):
            document = json.loads(content)
            images = {image["id"]: image for image in document["images"]}
            masks = {annotation["image_id"]: annotation for annotation in document["annotations"]}
            rows = {row["image_id"]: row for row in self.rows.values() if row["split"] == split}
            if not images.keys() == masks.keys() == rows.keys():
                every, common = images.keys() | masks.keys() | rows.keys(), images.keys() & masks.keys() & rows.keys()
                one = min(every - common)
                self.tell(name, f"image {one}, for example, is not in images, annotations and manifest alike")
            if (len(images), len(masks)) != (len(document["images"]), len(document["annotations"])):
                self.tell(name, "an image or annotation comes twice")
            for number in images.keys() & masks.keys() & rows.keys():
                for what in mask_against(images[number], masks[number], rows[number], self.samples):
                    self.tell(name, f"image {number}: {what}")

    def _index(self, name: str) -> None:
        content = self._content(name)
        if content is None:
            return
        folder = name.rpartition("/")[0]
        with self.readable(name):
            samples = Counter(sample.tar for sample in self.samples.values())
            shards = json.loads(content)["shardlist"]
            listed = {f"{folder}/{shard['url']}": (shard["filesize"], shard["nsamples"]) for shard in shards}
            tars = [tar for tar in self.files if tar.endswith(".tar") and tar.rpartition("/")[0] == folder]
            if listed != {tar: (self.files[tar].file_bytes, samples[tar]) for tar in tars}:
                self.tell(name, "does not list the tars beside it with their sizes and numbers of samples")

    def _licenses(self) -> None:
        content = self._content("licenses.csv")
        if content is None:
            return
        with self.readable("licenses.csv"):
            header, *lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
            if tuple(header) != COLUMNS:
                self.tell("licenses.csv", f"has the columns {header}, not {list(COLUMNS)}")
                return
            shared = [column for column in COLUMNS if column in SCHEMA.names]
            expected = [[str(self.rows[key][column]) for column in shared] for key in sorted(self.samples)]
            found = [[dict(zip(COLUMNS, line, strict=True))[column] for column in shared] for line in lines]
            if sorted(found) != expected:
                wrong = [line[0] for line in found if line not in expected] or [
                    line[0] for line in expected if line not in found
                ]
                self.tell("licenses.csv", f"{wrong[:1]} and others: not the images of the tars with their licences")

    def _card(self) -> None:
        content = self._content("README.md")
        if content is None:
            return
        from huggingface_hub import DatasetCard

        with self.readable("README.md"):
            front = DatasetCard(content.decode(), ignore_metadata_errors=False).data.to_dict()  # type: ignore[no-untyped-call]
            patterns = {entry["path"] for config in front["configs"] for entry in config.get("data_files", [])}
            folders = {f"{tar.rpartition('/')[0]}/*.tar" for tar in self.files if tar.endswith(".tar")}
            if patterns != folders:
                self.tell("README.md", f"loads {sorted(patterns)}, the tars are {sorted(folders)}")

    def _collection(self, annotations: str) -> None:
        """Ids, names and sizes are those of the collection; nothing of it is missing."""
        there = {sample.key: sample for sample in read_annotations(annotations).samples}
        for key in sorted(there.keys() ^ self.rows.keys())[:3]:
            where = "the manifest" if key in self.rows else "the annotations"
            self.tell("manifest.parquet", f"{key} is in {where} only")
        for key in there.keys() & self.rows.keys():
            sample, row = there[key], self.rows[key]
            for name in ("image_id", "file_name", "width", "height", "license_id"):
                if getattr(sample, name) != row[name]:
                    what = f"{name} is {row[name]!r}, the annotations have {getattr(sample, name)!r}"
                    self.tell("manifest.parquet", f"{key}: {what}")
