"""Inspects a release: compares every file with its sum, and all files with each other."""

import csv
import hashlib
import reprlib
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.collection.collection import Collection
from pipeline.collection.instances import Instances
from pipeline.files import storage
from pipeline.files.parquet import parquet_schema, read_parquet
from pipeline.files.tars import samples_of
from pipeline.records import Problem
from pipeline.release.annex import ADDED_LATER
from pipeline.release.changes import CHANGELOG, CHANGES, change_problems, changelog_problems, says_more
from pipeline.release.check.containers import TarComparison, links
from pipeline.release.check.limits import most_bytes, most_rows
from pipeline.release.check.page import PAGE, is_asset, is_data
from pipeline.release.check.recomputed import not_recomputable
from pipeline.release.check.release_json import NOTHING, StatedRelease
from pipeline.release.check.rows import cross_checks_against, misjudged, misplaced, notes_in, rows_against, unbound
from pipeline.release.check.samples import FoundSample, check_sample, sample_bytes_of
from pipeline.release.check.texts import (
    annotation_problems,
    card_problems,
    derived_files,
    foreign_problems,
    license_problems,
    origin_problems,
    pictures_of,
)
from pipeline.release.contents import SUMS, sha256_sums
from pipeline.release.identity import RELEASE_JSON, texts_digest
from pipeline.release.manifest import schema_of
from pipeline.release.strays import stray_files
from pipeline.release.tar_series import ReleasedTar, wids_index
from pipeline.selection.scores import SCORE_TABLE

OTHER_WORDS = "what it says was not compared: another version of this tool wrote it"
_UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, pa.ArrowException, tarfile.TarError,
    csv.Error, OverflowError, ZeroDivisionError,
)  # fmt: skip
"""What readers raise for a file that is not what it should be."""


@dataclass(slots=True)
class Inspection:
    """One inspection of a release: what has been read of it, and the problems found."""

    release: str
    stated: StatedRelease = NOTHING
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key → row of the manifest."""
    samples: dict[str, FoundSample] = field(default_factory=dict)
    """Key → sample in the tars."""
    problems: list[Problem] = field(default_factory=list)
    unchecked: list[Problem] = field(default_factory=list)
    """What could not be compared, and why."""
    notes: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    md5s: dict[str, str] = field(default_factory=dict)
    """Tar → MD5."""
    unread: set[str] = field(default_factory=set)
    """Tars that could not be read to the end; missing samples are not reported, since the tar itself is."""
    on_read: Callable[[str, int], None] = lambda name, read_bytes: None
    """Called with the name of a file and the bytes that were read and checked of it since the last call."""

    def check(self) -> None:
        """Read every file that `release.json` names, and compare them."""
        for name in stray_files(self.release, {RELEASE_JSON, *self.stated.files} | ADDED_LATER):
            self.tell(name, f"exists, but {RELEASE_JSON} does not name it")
        for name, target in links(self.release, {RELEASE_JSON, *self.stated.files} | ADDED_LATER):
            self.tell(name, f"is a symbolic link to {target}; copy the release with its files (cp -rL)")
        self._manifest()
        for name, why in not_recomputable(self.stated.made_with).items():
            self.skip("manifest.parquet", f"{name} was not measured again: {why}")
        for name in [name for name in self.stated.files if name.endswith(".tar")]:
            self._tar(name)
        with self.readable("manifest.parquet"):
            for what in (*self._misplaced(), *misjudged(self.rows, self.stated.policy, self.stated.table)):
                self.tell("manifest.parquet", what)
        self._bindings()
        for split in sorted({row["split"] for row in self.rows.values()} - {""} | self.stated.splits):
            annotations = f"annotations/{split}.json"
            compared = partial(annotation_problems, stated=self.stated, split=split)
            self._text(annotations, partial(compared, rows=self.rows, samples=self.samples))
            self._index(split)
        self._text("licenses.csv", partial(license_problems, rows=self.rows, stated=self.stated))
        self._text("README.md", partial(card_problems, stated=self.stated))
        if self.stated.release.previous:
            changes = self._text(
                "changes.csv", partial(change_problems, rows=self.rows, prefixed=self.stated.format > 2)
            )
            changelog = self._text("CHANGELOG.md", partial(changelog_problems, changes=changes, rows=self.rows))
            self._changelog(changelog or b"", changes or b"")
        self._derived()
        others = [file for name, file in sorted(self.stated.files.items()) if name != SUMS]
        if self._content(SUMS) not in (None, sha256_sums(others)):
            self.tell(SUMS, f"its sums differ from those in {RELEASE_JSON}")
        for name in sorted(self.stated.files.keys() - self.read):
            self._content(name)
            self.tell(name, "is not a file that releases have")

    def keys_of_tars(self) -> dict[str, list[str]]:
        """Tar → its keys, in order."""
        keys: dict[str, list[str]] = {}
        for key, sample in self.samples.items():
            keys.setdefault(sample.tar, []).append(key)
        return keys

    def tell(self, where: str, what: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(where=where, what=what))

    def skip(self, where: str, what: str) -> None:
        """Add something that is not checked."""
        self.unchecked.append(Problem(where=where, what=what))

    @contextmanager
    def readable(self, where: str) -> Iterator[None]:
        """Turn the error of a malformed file into a problem."""
        try:
            yield
        except _UNREADABLE as error:
            self.tell(where, f"is malformed: {type(error).__name__}: {str(error)[:200]}")

    def _content(self, name: str) -> bytes | None:
        """The content of a file, if it has the size and sum that `release.json` states."""
        self.read.add(name)
        url = storage.join(self.release, name)
        if name not in self.stated.files:
            self.tell(name, f"belongs to every release, but {RELEASE_JSON} does not name it")
            return None
        if not storage.is_file(url):  # a folder, or a pipe that nobody writes into
            self.tell(name, "is missing, or not a plain file")
            return None
        stated, found_bytes = self.stated.files[name], storage.file_bytes_of(url)
        most = most_bytes(name)
        if found_bytes > most:  # looked at before a byte is read: a sparse file costs nothing to make
            self.tell(name, f"has {found_bytes:,} bytes; of such a file at most {most:,} are read")
            return None
        content = storage.read(url, most)
        found = storage.stored_file(name, content)
        if found != stated:
            has = f"has {found.file_bytes} bytes and SHA-256 {found.sha256}"
            self.tell(name, f"{has}; {RELEASE_JSON} states {stated.file_bytes} and {stated.sha256}")
            return None
        self.on_read(name, 0 if name.endswith(".tar") else len(content))  # a tar is checked sample by sample
        return content

    def _manifest(self) -> None:
        if (content := self._content("manifest.parquet")) is None:
            return
        with self.readable("manifest.parquet"):
            columns = parquet_schema(content)
            if not columns.equals(schema_of(self.stated.columns, self.stated.format)):
                found = reprlib.repr(columns.names)
                self.tell("manifest.parquet", f"has other columns, or other types, than a manifest: {found}")
                return
            table = read_parquet(content, most_rows=most_rows(content))
            for what in notes_in(content, table.schema.metadata or {}, self.stated.made_with):
                self.tell("manifest.parquet", what)
            may_be_empty = {*SCORE_TABLE, *(column.name for column in self.stated.columns)}
            empty = [name for name in table.schema.names if name not in may_be_empty and table.column(name).null_count]
            if empty:
                self.tell("manifest.parquet", f"has cells without a value in {', '.join(empty)}")
                return
            rows = table.to_pylist()
            self.rows = {row["key"]: row for row in rows}
            if len(self.rows) != len(rows):
                doubled = [key for key, count in Counter(row["key"] for row in rows).items() if count > 1]
                self.tell("manifest.parquet", f"has keys more than once: {len(doubled)}, for example {doubled[0]}")
            counts = dict(Counter(row["verdict"] for row in rows))
            if counts != self.stated.counts:
                self.tell("manifest.parquet", f"has images {counts}, but {RELEASE_JSON} states {self.stated.counts}")

    def _tar(self, name: str) -> None:
        self.unread.add(name)
        if (content := self._content(name)) is None:
            return
        self.md5s[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        with self.readable(name):
            again, offset = TarComparison(content), 0
            for key, members in samples_of(content):
                self.on_read(name, sum(map(len, members.values())))
                again.add(key, members)
                begins, offset = offset, offset + sample_bytes_of(members)
                if key in self.samples:
                    self.tell(name, f"{key} is already in {self.samples[key].tar}")
                elif key not in self.rows:
                    self.tell(name, f"{key} is not in the manifest")
                else:
                    row = self.rows[key]
                    self.samples[key] = check_sample(
                        key, members, row, name, begins, self.stated, lambda what: self.tell(name, what)
                    )
            self.unread.discard(name)
            if problem := again.problem():
                self.tell(name, problem)

    def _misplaced(self) -> Iterator[str]:
        return misplaced(self.rows, self.samples, self.unread, self.stated.shares)

    def _changelog(self, changelog: bytes, changes: bytes) -> None:
        self.notes.append("what changed is not compared with the earlier release, which is not here")
        if any(problem.where in (CHANGELOG, CHANGES) for problem in self.problems):
            return
        with self.readable(CHANGELOG):
            accepted = sum(row["verdict"] == "accepted" for row in self.rows.values())
            if says_more(changelog, changes, self.stated.release, self.stated.previous_sha256, accepted):
                if self.stated.texts == texts_digest():
                    self.tell(CHANGELOG, f"does not say what this version of the tool writes for {CHANGES}")
                else:
                    self.skip(CHANGELOG, OTHER_WORDS)

    def _bindings(self) -> None:
        """Compare the shards' bindings; not if rows or samples have other problems, which these would only repeat."""
        if self.stated.shards is None:
            self.skip("manifest.parquet", "whether maps belong to their images: releases of format 2 can't tell")
        elif any(problem.where == "manifest.parquet" or problem.where.endswith(".tar") for problem in self.problems):
            self.skip("manifest.parquet", "whether maps belong to their images, since there are other problems")
        else:
            with self.readable("manifest.parquet"):
                for what in unbound(self.rows, self.stated.shards):
                    self.tell("manifest.parquet", what)

    def _text(self, name: str, problems: Callable[[bytes], Iterator[str]]) -> bytes | None:
        content = self._content(name)
        if content is not None:
            with self.readable(name):
                for what in problems(content):
                    self.tell(name, what)
        return content

    def _derived(self) -> None:
        """Compare page, card, NOTICE and Croissant with what manifest and `release.json` make of them.

        Not if there are other problems, which these would only repeat. If another version of this tool, with other
        words, wrote the texts, those that differ must be harmless, and are named.
        """
        is_sound, same_tool = not self.problems, self.stated.texts == texts_digest()
        if not same_tool:
            self.notes.append("made with another version of this tool: its words may differ from this version's")
        with self.readable(RELEASE_JSON):
            derived = derived_files(list(self.rows.values()), self.stated)
            names = set(derived)
            if not same_tool:  # its page may consist of other scripts
                names = {name for name in names if not is_asset(name)} | {
                    name for name in self.stated.files if is_asset(name) or is_data(name)
                }
            for name in sorted(names):
                found, wanted = self._content(name), derived.get(name)
                if found in (None, wanted):
                    continue
                if not same_tool:
                    self._of_another_version(name, found or b"", derived[PAGE])
                elif is_sound:
                    self.tell(
                        name, f"does not say what this version of the tool writes for this manifest and {RELEASE_JSON}"
                    )
                else:
                    self.skip(name, "not compared with the manifest, since there are other problems")
        for name, problems in pictures_of(self.rows, self.stated).items():
            self._text(name, problems)

    def _of_another_version(self, name: str, content: bytes, page: bytes) -> None:
        with self.readable(name):
            for what in foreign_problems(name, content, page, self.stated.files):
                self.tell(name, what)
            if not is_asset(name):
                self.skip(name, OTHER_WORDS)

    def _index(self, split: str) -> None:
        name = f"data/{split}/index.json"
        if (content := self._content(name)) is None:
            return
        names = sorted(tar for tar in self.stated.files if tar.endswith(".tar") and tar.startswith(f"data/{split}/"))
        if self.unread.intersection(names):
            return
        samples = Counter(row["tar"] for row in self.rows.values())
        tars = [ReleasedTar(file=self.stated.files[tar], samples=samples[tar], md5=self.md5s[tar]) for tar in names]
        if content != wids_index(self.stated.release.name, tars):
            self.tell(name, "does not list the tars beside it with their sizes, MD5 sums and numbers of samples")

    def check_against(self, collection: Collection, instances: Instances) -> None:
        """Compare ids, names, sizes, licences, origins and instances with the collection; every image must be there."""
        checked = cross_checks_against(self.rows, self.samples, instances)
        for what in (*rows_against(self.rows, collection), *checked):
            self.tell("manifest.parquet", what)
        if self.stated.format == 2:
            self._text("licenses.csv", partial(origin_problems, collection=collection))
