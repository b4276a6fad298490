"""The folder of a score pass: what it was made with and which columns it adds, in `pass.json`; its records and rows.

RUN/passes/NAME/pass.json   fingerprint, columns, and what a card says of the pass; created once, before any row
RUN/passes/NAME/scores/     one parquet per shard (`rows.py`)
RUN/passes/NAME/commits/    the shards' records; lease, journal and device.json lie beside them, as in a run
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from model.documents import parse_json
from pipeline.errors import CollectionError, ConfigError, RunMismatchError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.passes.building import builds_on
from pipeline.passes.known import PASSES
from pipeline.passes.rows import read_rows
from pipeline.records import PassRow, ShardRecord
from pipeline.runs.commits import committed_shards, read_shard_records
from pipeline.selection.columns import Column, Vector, columns_from, stored_columns
from pipeline.selection.combination import NAME as COMBINATION

FORMAT = 1
_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PassDocument:
    """What `pass.json` holds."""

    kind: str
    """A name of `PASSES`, or `module:Class`."""
    fingerprint: Mapping[str, str]
    columns: tuple[Column, ...]
    about: Mapping[str, str]
    """What the card says of the pass: a heading → a text."""
    needs: tuple[str, ...] = ()
    """The passes of the run whose values it builds on."""

    @staticmethod
    def from_stored(stored: Mapping[str, Any]) -> "PassDocument":
        """Read what `stored` gave; nothing in it is believed before it is checked.

        Raises: ValueError, TypeError, KeyError, AttributeError: it is not that.
        """
        if stored["format"] != FORMAT:
            raise ValueError(f"its format is {stored['format']!r}; this version of the tool reads {FORMAT}")
        texts = (stored["fingerprint"], stored["about"])
        if not all(isinstance(text, str) for values in texts for pair in values.items() for text in pair):
            raise ValueError("a value is no text")
        if not all(_NAME.fullmatch(name) for name in stored["needs"]):
            raise ValueError(f"the passes that it needs are {stored['needs']!r}")
        return PassDocument(
            kind=str(stored["pass"]),
            fingerprint=dict(stored["fingerprint"]),
            columns=columns_from(stored["columns"]),
            about=dict(stored["about"]),
            needs=tuple(stored["needs"]),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of `pass.json`. The records of the pass carry it, also those of sessions with other versions of
        libraries, since what was begun counts."""
        return hashlib.sha256(encode_json(self.stored())).hexdigest()

    def stored(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "format": FORMAT,
            "pass": self.kind,
            "fingerprint": dict(self.fingerprint),
            "columns": stored_columns(self.columns),
            "about": dict(self.about),
            "needs": list(self.needs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedPass:
    """A complete pass, as a release states it."""

    name: str
    document: PassDocument
    digest: str
    """SHA-256 of its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassValues:
    """What a complete pass has found out about all images of a run."""

    stated: StatedPass
    rows: Mapping[str, PassRow]
    """Key → row."""


def pass_folder(run: str, name: str) -> str:
    """Where a pass of a run lies."""
    return storage.join(run, "passes", name)


def check_name(name: str) -> str:
    """Refuse a name that can't be one; columns and folders begin with it.

    Raises: ConfigError: it can't.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: it must be lower-case letters, digits and _, at most 20, a letter first")
    if name == COMBINATION:
        raise ConfigError(f"--name {name}: releases call the policy's combination of scores so; give another")
    return name


def first_failure(run: str, name: str) -> str:
    """Key and reason of the first image that a pass could not score; "" if there is none.

    Images that failed in the run count only if there is no other.
    """
    folder, columns = pass_folder(run, name), read_document(run, name).columns
    records = read_shard_records(folder, sorted(committed_shards(folder))).values()
    failed = (row for record in records for row in read_rows(folder, record, columns) if row.status == "failed")
    first = min(failed, key=lambda row: row.reason == "no_candidate", default=None)
    return f"{first.key}: {first.reason}: {first.detail}" if first else ""


def passes_of(run: str, besides: str = "") -> dict[str, PassDocument]:
    """Name → document of every pass of a run that has been begun, in alphabetical order.

    Args:   besides: the name of one that is left out.
    Raises: StorageError: a document can't be read.
    """
    names = [name for name in pass_names(run) if name != besides]
    return {name: read_document(run, name) for name in names if is_begun(run, name)}


def pass_names(run: str) -> list[str]:
    """Names of the folders of passes, in alphabetical order; one may be empty, if its pass was never begun."""
    return sorted(name for name in storage.list_names(storage.join(run, "passes")) if _NAME.fullmatch(name))


def is_begun(run: str, name: str) -> bool:
    """Is there a pass of this name?"""
    return storage.exists(document_url(run, name))


def read_document(run: str, name: str) -> PassDocument:
    """Read the document of a pass.

    Raises: StorageError: it is missing or damaged.
    """
    url = document_url(run, name)
    try:
        return PassDocument.from_stored(parse_json(storage.read(url)))
    except StorageUnavailableError:
        raise
    except (StorageError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"{url} does not say what the pass was made with ({str(error)[:200]}). Run the pass's own command again, "
            f"which restores it, or remove {pass_folder(run, name)}"
        ) from error


def read_pass(run: str, name: str, records: Mapping[str, ShardRecord]) -> PassValues:
    """Read a complete pass.

    Args:   records: the run's shards → their records, which say what the pass must have scored.
    Raises: CollectionError: there is no such pass. RunMismatchError: images are left to score, or have changed since.
            StorageError: a file can't be read.
    """
    if not is_begun(run, name):
        there = ", ".join(passes_of(run)) or "none"
        raise CollectionError(f"{run} has no score pass {name} (there: {there}): run sod score {run} first")
    document, folder = read_document(run, name), pass_folder(run, name)
    found = read_shard_records(folder, sorted(committed_shards(folder).keys() & records.keys()))
    basis = builds_on(document.kind, document.needs, list(records), partial(pass_folder, run))
    left = [shard for shard, record in records.items() if outdated(found.get(shard), record, basis[shard])]
    if left:
        images = sum(records[shard].done + records[shard].failed for shard in left)
        kind = document.kind if document.kind in PASSES and document.kind == name else f"{document.kind} --name {name}"
        raise RunMismatchError(
            f"{run}: the score pass {name} has {images} images left to score. To finish it, run "
            f"sod score {run} --pass {kind} again"
        )
    digest = _digest([found[shard] for shard in records])
    rows: dict[str, PassRow] = {}
    for shard in records:
        rows |= {row.key: row for row in read_rows(folder, found[shard], document.columns)}
    return PassValues(stated=StatedPass(name=name, document=document, digest=digest), rows=rows)


def outdated(scored: ShardRecord | None, record: ShardRecord, builds_on: str | None = None) -> bool:
    """Is a shard of the run not scored, or was it computed again since?

    Args: builds_on: what its rows should depend on besides (see `building.py`). None: that is not compared.
    """
    if scored is None or scored.scored != record.rows.sha256:
        return True
    return builds_on is not None and scored.builds_on != builds_on


def _digest(records: Sequence[ShardRecord]) -> str:
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.shard} {record.rows.sha256}\n".encode())
    return digest.hexdigest()


def document_url(run: str, name: str) -> str:
    """Where the document of a pass lies."""
    return storage.join(pass_folder(run, name), "pass.json")


def columns_of(passes: Iterable[StatedPass]) -> tuple[Column, ...]:
    """The columns that a release has of several passes, one pass after the other: all but vectors."""
    columns = [column for stated in passes for column in stated.document.columns]
    return tuple(column for column in columns if not isinstance(column, Vector))
