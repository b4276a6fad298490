"""Checks that the score passes of a run are what their records say: document, records and rows against plan and
candidates.

What is wrong is named; `repair_passes` removes what is broken and what is stray, so that the pass's own command scores
those images again. A damaged `pass.json` is left to that command, which restores it (`folder.py`). Scores of candidates
that were computed again since are no problem: they are left to score.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from pipeline.errors import FAILURE_REASONS, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.passes.building import builds_on
from pipeline.passes.folder import PassDocument, outdated, pass_folder, pass_names, read_document
from pipeline.passes.rows import FOLDER, decode_rows
from pipeline.passes.score_pass import Candidate
from pipeline.passes.scoring import unfit
from pipeline.progress.stages import counted
from pipeline.records import PassRow, Problem, ShardRecord, ShardSpec
from pipeline.runs.candidates import read_members, read_rows
from pipeline.runs.check import content_of, machine_problems, strays
from pipeline.runs.commits import committed_shards, read_shard_record, read_shard_records, record_names
from pipeline.runs.lease import held, refuse_busy
from pipeline.runs.machine import DEVICE
from pipeline.runs.run_file import read_run
from pipeline.runs.sweep import sweep

_THREADS = 4
"""As for the check of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassCheck:
    """What a check of a score pass found. Files are relative to the run."""

    name: str
    images: int
    """Of the run, as far as it is computed and sound."""
    scored: int
    """In shards without a problem."""
    failed: int
    """Images that have no scores, in shards without a problem."""
    problems: tuple[Problem, ...]
    broken: tuple[str, ...]
    """Shards with a problem."""
    stray: tuple[str, ...]
    """Files that belong to nothing; they do no harm."""
    removed: tuple[str, ...] = ()
    """By a repair."""

    @property
    def left(self) -> int:
        """Images still to be scored, including those of broken shards."""
        return self.images - self.scored - self.failed

    @property
    def remaining(self) -> tuple[Problem, ...]:
        """Problems that no repair mends."""
        files = (f"passes/{self.name}/pass.json", f"passes/{self.name}/{DEVICE}")
        return tuple(problem for problem in self.problems if problem.where in files)


def verify_passes(run: str, broken: Sequence[str] = ()) -> tuple[PassCheck, ...]:
    """Check every score pass of a run, in alphabetical order.

    Args:    broken: shards of the run itself that are not sound; nothing is compared with them.
    Raises:  CollectionError: the run does not exist. StorageError: its plan can't be read. StorageUnavailableError,
             OSError: a file can't be read now.
    """
    if not (names := pass_names(run)):
        return ()
    against = _Run.read(run, broken)
    return tuple(_verify(against, name) for name in names)


def repair_passes(run: str) -> tuple[PassCheck, ...]:
    """Check every score pass of a sound run, and remove what is broken or stray, while no session works on the pass.

    Returns: what was found before that.
    Raises:  RunBusyError: a session works on a pass; it is left as it is. Otherwise as `verify_passes`.
    """
    if not (names := pass_names(run)):
        return ()
    against, done = _Run.read(run), list[PassCheck]()
    for name in names:
        with held(pass_folder(run, name)):  # what a session is about to commit looks stray
            check = _verify(against, name)
            done.append(replace(check, removed=_repair(pass_folder(run, name), check)))
    return tuple(done)


def refuse_busy_passes(run: str) -> None:
    """Check that no session works on a score pass of a run.

    Raises: RunBusyError: one does.
    """
    for name in pass_names(run):
        refuse_busy(pass_folder(run, name))


def _repair(folder: str, check: PassCheck) -> tuple[str, ...]:
    """Remove what is broken or stray; records go first, so that the pass stays sound if the process is killed here."""
    names = storage.list_names(storage.join(folder, FOLDER))
    files = [f"commits/{name}" for name in record_names(folder, check.broken)]
    files += [f"{FOLDER}/{name}" for name in names if name.partition(".")[0] in check.broken]
    removed = [name for name in files if storage.remove(storage.join(folder, name))]
    sound = sorted(committed_shards(folder).keys() - set(check.broken))
    removed += sweep(folder, read_shard_records(folder, sound), FOLDER)
    return tuple(f"passes/{check.name}/{name}" for name in removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What the passes of a run are compared with."""

    run: str
    specs: Mapping[str, ShardSpec]
    records: Mapping[str, ShardRecord]
    """Of the shards that are sound."""

    @classmethod
    def read(cls, run: str, broken: Sequence[str] = ()) -> "_Run":
        """Read plan and records of a run. Raises: as `verify_passes`."""
        specs = {spec.name: spec for spec in read_run(run)[1]}
        sound = sorted((committed_shards(run).keys() & specs.keys()) - set(broken))
        return cls(run=run, specs=specs, records=read_shard_records(run, sound))


def _verify(against: _Run, name: str) -> PassCheck:
    folder, specs, records = pass_folder(against.run, name), against.specs, against.records
    committed = committed_shards(folder)
    document, problems = _document(against.run, name, bool(committed))
    problems += machine_problems(folder) if committed else []
    broken = sorted(committed.keys() - specs.keys())
    problems += [Problem(where=f"commits/{shard}.json", what="no shard of the plan has this name") for shard in broken]
    shards, used = sorted(committed.keys() & specs.keys()), set[str]()
    scored = failed = 0
    basis = _basis(against, document)

    def check(shard: str) -> tuple[ShardRecord | None, bool, list[Problem]]:
        return _check_shard(against, name, specs[shard], document, basis.get(shard))

    with ThreadPoolExecutor(_THREADS) as pool:
        pairs = zip(shards, pool.map(check, shards), strict=True)
        for shard, (record, counts, found) in counted(f"reading the pass {name}", pairs, len(shards), "shards"):
            problems += found
            used |= {record.rows.name} if record else set()
            if found:
                broken.append(shard)
            elif record and counts:
                scored, failed = scored + record.done, failed + record.failed
    of_pass = f"passes/{name}/"
    return PassCheck(
        name=name,
        images=sum(record.done + record.failed for record in records.values()),
        scored=scored,
        failed=failed,
        problems=tuple(Problem(where=of_pass + problem.where, what=problem.what) for problem in problems),
        broken=tuple(broken),
        stray=tuple(of_pass + stray for stray in strays(folder, used, set(broken), FOLDER)),
    )


def _document(run: str, name: str, is_needed: bool) -> tuple[PassDocument | None, list[Problem]]:
    """The document of a pass, if it can be read; a folder without one has merely not been begun, or is empty again.

    Args: is_needed: there are records of the pass.
    """
    try:
        document = read_document(run, name)
    except StorageUnavailableError:
        raise
    except StorageError as error:
        is_there = storage.exists(storage.join(pass_folder(run, name), "pass.json"))
        return None, [Problem(where="pass.json", what=str(error))] if is_needed or is_there else []
    folder, claims = pass_folder(run, name), set[str]()
    for shard, number in committed_shards(folder).items():
        try:
            claims.add(read_shard_record(folder, shard, number).made_with)
        except StorageUnavailableError:
            raise
        except StorageError:  # named where its shard is checked
            continue
    if claims and document.digest not in claims:
        what = (
            "says that the pass was made with something else than all of its records: it is damaged. Run the pass's "
            "own command again, which restores it"
        )
        return None, [Problem(where="pass.json", what=what)]
    return document, []


def _basis(against: _Run, document: PassDocument | None) -> dict[str, str]:
    """Shard → what a pass's rows should depend on besides; nothing if the passes that it needs can't be read."""
    try:
        if document is None:
            return {}
        folder_of = partial(pass_folder, against.run)
        return builds_on(document.kind, document.needs, list(against.records), folder_of)
    except StorageUnavailableError:
        raise
    except StorageError:  # the check of that pass says so
        return {}


def _check_shard(
    against: _Run, name: str, spec: ShardSpec, document: PassDocument | None, basis: str | None
) -> tuple[ShardRecord | None, bool, list[Problem]]:
    """Check one committed shard of a pass.

    Args:    document: None: it can't be read, so only the file is compared with its record.
             basis: what its rows should depend on besides: see `building.py`.
    Returns: its record, if that can be read; whether it counts, for the candidates are those that it was made for; and
             everything that is wrong.
    """
    folder, computed = pass_folder(against.run, name), against.records.get(spec.name)
    where = f"commits/{spec.name}.json"
    try:
        record = read_shard_record(folder, spec.name)
    except StorageUnavailableError:
        raise
    except StorageError as error:
        return None, False, [Problem(where=where, what=str(error))]
    if record.tar is not None:
        return record, False, [Problem(where=where, what="is the record of candidates, not of a score pass")]
    if document and record.made_with != document.digest:
        what = "was made with something else (options, code or weights) than pass.json says"
        return record, False, [Problem(where=where, what=what)]
    rows_name = f"{FOLDER}/{record.rows.name}"
    content, problems = content_of(folder, rows_name, record.rows)
    if content is None or document is None:
        return record, False, problems
    try:
        rows = decode_rows(content, document.columns)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        return record, False, [Problem(where=rows_name, what=f"can't be read as rows: {error}")]
    found = [*_rows_against(spec, record, rows), *(text for row in rows for text in _row_against(row, document))]
    counts = computed is not None and not outdated(record, computed, basis)
    if computed is not None and counts and not found:
        found += _candidates_against(against.run, computed, rows)
    return record, counts, [Problem(where=rows_name, what=what) for what in found]


def _rows_against(spec: ShardSpec, record: ShardRecord, rows: Sequence[PassRow]) -> Iterator[str]:
    planned, keys = [sample.key for sample in spec.samples], [row.key for row in rows]
    if planned != keys:
        missing, more = sorted(set(planned) - set(keys)), sorted(set(keys) - set(planned))
        yield f"{len(keys)} rows for {len(planned)} planned images; missing {missing[:3]}, not planned {more[:3]}"
    failed = sum(row.status == "failed" for row in rows)
    if (len(rows) - failed, failed) != (record.done, record.failed):
        yield f"{len(rows) - failed} scored and {failed} failed; the record says {record.done} and {record.failed}"


def _row_against(row: PassRow, document: PassDocument) -> Iterator[str]:
    if row.status not in ("done", "failed"):
        yield f"{row.key} has the status {row.status!r}"
    elif (row.reason in FAILURE_REASONS) != (row.status == "failed"):
        yield f"{row.key} is {row.status} with the reason {row.reason!r}"
    for column in document.columns if row.status == "done" else ():
        value = row.values[column.name]
        if value is not None and (problem := unfit(column, value)):
            yield f"{row.key} has {column.name} {value!r:.100}; {problem}"


def _candidates_against(run: str, computed: ShardRecord, rows: Sequence[PassRow]) -> Iterator[str]:
    """Compare the digests of what was scored with the candidates."""
    members = read_members(run, computed)
    found = {
        row.key: Candidate(row=row, files=members[row.key]).sha256 if row.status == "done" else ""
        for row in read_rows(run, computed)
    }
    for row in rows:
        if row.candidate_sha256 != found.get(row.key):
            yield f"{row.key} was scored on another candidate than the run has"
            return
