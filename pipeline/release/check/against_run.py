"""Compares a release with the records of the run that it was made from: they are older, and lie elsewhere."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.errors import CollectionError, UsageError
from pipeline.passes.folder import StatedPass, read_pass
from pipeline.records import CandidateRow, ShardRecord
from pipeline.release.check.release_json import StatedRelease
from pipeline.release.check.rows import Rows
from pipeline.release.identity import RELEASE_JSON, candidates_digest
from pipeline.release.manifest import MANIFEST
from pipeline.runs.candidates import read_rows
from pipeline.runs.commits import committed_shards, read_shard_record
from pipeline.selection.combination import NAME as COMBINATION
from pipeline.selection.scores import SCORES

Say = Callable[[str, str], None]
"""Called with a file and what is said about it."""


def require_records(run: str) -> None:
    """Check that a run can be compared with.

    Raises: CollectionError: it does not exist, or nothing of it is committed.
    """
    if not committed_shards(run):
        raise CollectionError(
            f"--run {run} is not a run, or nothing of it is committed: give the folder or URL of a run"
        )


def compare_with_run(run: str, stated: StatedRelease, rows: Rows, tell: Say, skip: Say) -> None:
    """Compare the bindings, the digest of the candidates and the manifest's rows with the run's records and rows.

    A shard may have several records, since failed images can be tried again after a release was made.

    Args:   tell: called with what is wrong. skip: called with what can't be compared.
    Raises: StorageError: a record can't be read.
    """
    newest = committed_shards(run)
    unbound = []
    for shard in stated.shards or ():
        numbers = range(newest[shard.shard] + 1) if shard.shard in newest else ()
        bindings = [read_shard_record(run, shard.shard, number).binding for number in numbers]
        if shard.binding not in bindings and "" in bindings:
            unbound.append(shard.shard)
        elif shard.binding not in bindings:
            tell(RELEASE_JSON, f"binds other images, maps or scores in shard {shard.shard} than its record in {run}")
    if unbound:
        which = f"{len(unbound)} of {len(stated.shards or ())} shards ({unbound[0]}, for example)"
        skip(RELEASE_JSON, f"{which}: their records are from a version of this tool that bound nothing")
    names = [shard.shard for shard in stated.shards or ()] or sorted(newest)
    records = [read_shard_record(run, name, newest[name]) for name in names if name in newest]
    if candidates_digest(records) != stated.candidates:
        if any(newest.values()) or stated.shards is None:
            skip(
                RELEASE_JSON, f"the digest of its candidates: {run} has grown or tried images again, perhaps since then"
            )
        else:
            tell(RELEASE_JSON, f"was made from other candidates than {run} has")
        return
    for record in records:
        for row in read_rows(run, record):
            for name in _unlike(row, rows.get(row.key, {})):
                tell(MANIFEST, f"{row.key}: {name} is not what {run} has")
    for stated_pass in stated.passes:
        _compare_pass(run, stated_pass, {record.shard: record for record in records}, rows, tell, skip)


def _compare_pass(
    run: str, stated: StatedPass, records: Mapping[str, ShardRecord], rows: Rows, tell: Say, skip: Say
) -> None:
    """Compare the columns of a score pass with its rows in the run; a combination follows from the manifest."""
    if stated.name == COMBINATION:
        return
    try:
        found = read_pass(run, stated.name, records)
    except UsageError as error:
        skip(MANIFEST, f"the columns of the score pass {stated.name}: {error}")
        return
    if found.stated != stated:
        tell(RELEASE_JSON, f"states another score pass {stated.name} than {run} has")
        return
    for key, row in found.rows.items():
        for column in stated.document.columns:
            if rows.get(key, {}).get(column.name) != row.values.get(column.name):
                tell(MANIFEST, f"{key}: {column.name} is not what the score pass {stated.name} of {run} has")


def _unlike(row: CandidateRow, stated: Mapping[str, Any]) -> Iterator[str]:
    """Columns in which a manifest states something else than the run found."""
    names = ["image_sha256", "image_bytes", "members", "fewer_at_once", "detail"]
    names += [name for name in ("frame", "exif_orientation") if name in stated]  # not before format 4
    found = {name: getattr(row, name) for name in names}
    found |= {name: row.scores.get(name) for name in SCORES}
    if row.status == "failed":
        found |= {"verdict": "failed", "reason": row.reason}
    for name, value in found.items():
        if stated.get(name) != value:
            yield name
