"""What a suspicious stranger checks of a release: every byte against its sums, and every file against the others.

Sums alone show damage; whoever edits a file can mend its sum too. So masks, run lengths, manifest, licences and card
are compared with each other as well. Texts that nothing else says can't be: `release.json` has the sums of all files,
so compare its own with the one that was published.
"""

import csv
import hashlib
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import yaml

from pipeline.collection.coco import Collection, read_annotations
from pipeline.collection.instances import Instance, read_instances
from pipeline.errors import CollectionError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.parquet import read_parquet
from pipeline.files.tars import samples_of
from pipeline.release.changes import change_problems, changelog_problems
from pipeline.release.check.loaders import loader_problems
from pipeline.release.check.record import NOTHING, StatedRelease, read_record
from pipeline.release.check.rows import cross_checks_against, misjudged, misplaced, rows_against
from pipeline.release.check.samples import FoundSample, check_sample
from pipeline.release.check.texts import (
    annotation_problems,
    card_problems,
    derived_files,
    license_problems,
    origin_problems,
    sheet_problems,
    sheets_of,
)
from pipeline.release.contents import SUMS, sha256_sums
from pipeline.release.identity import RELEASE_JSON, texts_digest
from pipeline.release.manifest import SCHEMA
from pipeline.release.strays import stray_files
from pipeline.release.tar_series import ReleasedTar, wids_index
from pipeline.runs.check import Problem
from pipeline.selection.scores import CROSS_CHECKS, SCORES

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
    notes: tuple[str, ...] = ()
    """What was not tried."""


def verify_release(
    release: str,
    annotations: str = "",
    *,
    loaders: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> ReleaseCheck:
    """Check a release, reading every byte once.

    Args:    release: folder or URL.
             annotations: COCO annotation JSON that the images are said to come from, to compare with.
             loaders: load it with the libraries of its users too, if nothing else is wrong.
             report: called with what is read next.
    Raises:  CollectionError: there is no release. StorageUnavailableError, OSError: a file can't be read now.
    """
    url = storage.join(release, RELEASE_JSON)
    if not storage.is_file(url):
        raise CollectionError(f"{release} is no complete release: there is no {RELEASE_JSON}, which is written last")
    collection = read_annotations(annotations) if annotations else None
    check = _Check(release)
    content = storage.read(url)
    with check.readable(RELEASE_JSON):
        check.stated = read_record(content, lambda what: check.tell(RELEASE_JSON, what))
    if check.stated is not NOTHING:
        check.all(report)
    if collection is not None and check.stated is not NOTHING:
        with check.readable("manifest.parquet"):
            here = [sample for sample in collection.samples if sample.key in check.samples]
            check.against(collection, read_instances(annotations, here) if collection.has_instances else {})
    if loaders and not check.problems:
        report("loading it with the libraries of its users")
        loaded = loader_problems(release, check.stated, check.keys_of_tars(), len(check.rows))
        check.problems += loaded.problems
        check.notes += loaded.notes
    return ReleaseCheck(
        name=check.stated.release.name,
        version=check.stated.release.version,
        sha256=hashlib.sha256(content).hexdigest(),
        images=len(check.rows),
        accepted=len(check.samples),
        problems=tuple(check.problems),
        notes=tuple(check.notes),
    )


@dataclass(slots=True)
class _Check:
    """A release as far as it has been read."""

    release: str
    stated: StatedRelease = NOTHING
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, FoundSample] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    md5s: dict[str, str] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    """Tars that could not be read to their end: nothing is said of their samples, the tar's own problem says it."""

    def all(self, report: Callable[[str], None]) -> None:
        """Every file, and everything against everything."""
        for name in stray_files(self.release, {RELEASE_JSON, *self.stated.files}):
            self.tell(name, f"is there, but not in {RELEASE_JSON}")
        self._manifest()
        for name in [name for name in self.stated.files if name.endswith(".tar")]:
            report(f"reading {name}")
            self._tar(name)
        with self.readable("manifest.parquet"):
            for what in (*misplaced(self.rows, self.samples, self.unread), *misjudged(self.rows, self.stated.policy)):
                self.tell("manifest.parquet", what)
        for split in sorted({row["split"] for row in self.rows.values()} - {""} | self.stated.splits):
            annotations = f"annotations/{split}.json"
            self._text(
                annotations,
                partial(
                    annotation_problems, about=self.stated.release, split=split, rows=self.rows, samples=self.samples
                ),
            )
            self._index(split)
        self._text("licenses.csv", partial(license_problems, rows=self.rows, stated=self.stated))
        self._text("README.md", partial(card_problems, stated=self.stated))
        if self.stated.release.previous:
            changes = self._text("changes.csv", partial(change_problems, rows=self.rows))
            self._text("CHANGELOG.md", partial(changelog_problems, changes=changes, rows=self.rows))
        self._derived()
        others = [file for name, file in sorted(self.stated.files.items()) if name != SUMS]
        if self._content(SUMS) not in (None, sha256_sums(others)):
            self.tell(SUMS, f"the sums are not those of {RELEASE_JSON}")
        for name in sorted(self.stated.files.keys() - self.read):
            self._content(name)
            self.tell(name, "is no file that a release has")

    def keys_of_tars(self) -> dict[str, list[str]]:
        """Tar → keys, in its order."""
        keys: dict[str, list[str]] = {}
        for key, sample in self.samples.items():
            keys.setdefault(sample.tar, []).append(key)
        return keys

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
        self.read.add(name)
        url = storage.join(self.release, name)
        if name not in self.stated.files:
            self.tell(name, f"is not in {RELEASE_JSON}, and belongs to every release")
            return None
        if not storage.is_file(url):  # a folder, a pipe that nobody writes into
            self.tell(name, "is missing, or no plain file")
            return None
        try:
            return storage.read_checked(url, self.stated.files[name])
        except StorageUnavailableError:
            raise
        except StorageError as error:
            self.tell(name, str(error).removesuffix(". Delete the record to have the file made again"))
            return None

    def _manifest(self) -> None:
        content = self._content("manifest.parquet")
        if content is None:
            return
        with self.readable("manifest.parquet"):
            table = read_parquet(content)
            if not table.schema.equals(SCHEMA):
                self.tell("manifest.parquet", f"its columns, or their types, are others: {table.schema.names}")
                return
            may_be_empty = (*SCORES, *CROSS_CHECKS)
            empty = [name for name in SCHEMA.names if name not in may_be_empty and table.column(name).null_count]
            if empty:
                self.tell("manifest.parquet", f"{', '.join(empty)}: cells without a value")
                return
            rows = table.to_pylist()
            self.rows = {row["key"]: row for row in rows}
            if len(self.rows) != len(rows):
                doubled = [key for key, count in Counter(row["key"] for row in rows).items() if count > 1]
                self.tell("manifest.parquet", f"{len(doubled)} keys come twice, {doubled[0]} for example")
            counts = dict(Counter(row["verdict"] for row in rows))
            if counts != self.stated.counts:
                self.tell("manifest.parquet", f"has {counts} images, {RELEASE_JSON} says {self.stated.counts}")

    def _tar(self, name: str) -> None:
        self.unread.add(name)
        content = self._content(name)
        if content is None:
            return
        self.md5s[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        with self.readable(name):
            for key, members in samples_of(content):
                if key in self.samples:
                    self.tell(name, f"{key} is there already, in {self.samples[key].tar}")
                elif key not in self.rows:
                    self.tell(name, f"{key} is not in the manifest")
                else:
                    row = self.rows[key]
                    self.samples[key] = check_sample(
                        key, members, row, name, self.stated.release.embed_images, lambda what: self.tell(name, what)
                    )
            self.unread.discard(name)

    def _text(self, name: str, problems: Callable[[bytes], Iterator[str]]) -> bytes | None:
        content = self._content(name)
        if content is not None:
            with self.readable(name):
                for what in problems(content):
                    self.tell(name, what)
        return content

    def _derived(self) -> None:
        """Page, card, NOTICE and Croissant say what manifest and record have.

        Where something else is wrong, that is what there is to say; and other versions of this tool have other words.
        """
        is_sound, same_tool = not self.problems, self.stated.texts == texts_digest()
        if not same_tool:
            self.notes.append("another version of this tool made it: page, card, NOTICE and Croissant are not compared")
        with self.readable(RELEASE_JSON):
            for name, wanted in derived_files(list(self.rows.values()), self.stated).items():
                found = self._content(name)
                if is_sound and same_tool and found not in (None, wanted):
                    self.tell(
                        name, "does not say what manifest, policy and record do, as this version of the tool would"
                    )
        for name, tiles in sheets_of(self.rows).items():
            self._text(name, partial(sheet_problems, tiles=tiles))

    def _index(self, split: str) -> None:
        name = f"data/{split}/index.json"
        content = self._content(name)
        if content is None:
            return
        names = sorted(tar for tar in self.stated.files if tar.endswith(".tar") and tar.startswith(f"data/{split}/"))
        if self.unread.intersection(names):
            return
        samples = Counter(row["tar"] for row in self.rows.values())
        tars = [ReleasedTar(file=self.stated.files[tar], samples=samples[tar], md5=self.md5s[tar]) for tar in names]
        if content != wids_index(self.stated.release.name, tars):
            self.tell(name, "does not list the tars beside it with their sizes, MD5 and numbers of samples")

    def against(self, collection: Collection, instances: Mapping[str, Sequence[Instance]]) -> None:
        """Ids, names, sizes, licences, origins and instances are those of the collection; nothing of it is missing."""
        checked = cross_checks_against(self.rows, self.samples, instances)
        for what in (*rows_against(self.rows, collection), *checked):
            self.tell("manifest.parquet", what)
        self._text("licenses.csv", partial(origin_problems, collection=collection))
