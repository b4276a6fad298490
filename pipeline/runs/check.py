"""Checks that a run is what its records say: reads every shard and compares plan, record, tar, rows and maps.

Our own files are not trusted either: a disk that lies, a copy that ended early and a manual edit leave the same traces.
What is wrong is named; `repair_run` restores what follows from the rest (`restore.py`), and removes what else is wrong,
so that the next session computes it again.
"""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.maps import decode_masks, decode_png
from pipeline.files.tars import encode_json, samples_of
from pipeline.progress.stages import counted
from pipeline.records import CandidateRow, Problem, ShardRecord, ShardSpec, StoredFile
from pipeline.runs.candidates import KEPT, binding_of, decode_rows, kept_binding_of
from pipeline.runs.commits import committed_shards, read_shard_record, read_shard_records, record_names
from pipeline.runs.fingerprint import digest_of
from pipeline.runs.inputs import input_problems
from pipeline.runs.lease import held
from pipeline.runs.machine import DEVICE, mixed_problems, restore_machine, settled_machine
from pipeline.runs.restore import is_run, restore
from pipeline.runs.run_file import read_run
from pipeline.runs.sweep import sweep
from pipeline.selection.scores import pairwise_iou

_MAPS = ("saliency.png", "variance.png")
_THREADS = 4
"""Threads that check shards: reading and hashing release Python's lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCheck:
    """What a check of a run found."""

    shards: int
    """Shards of the plan."""
    checked: int
    """Shards that have a record, all of which were read."""
    images: int
    """Images of the plan."""
    done: int
    """Predicted images, in shards without a problem."""
    failed: int
    """Images that could not be used, in shards without a problem."""
    problems: tuple[Problem, ...]
    broken: tuple[str, ...]
    """Shards with a problem."""
    stray: tuple[str, ...] = ()
    """Files that belong to nothing; they do no harm."""

    @property
    def left(self) -> int:
        """Images still to be computed, including those of broken shards."""
        return self.images - self.done - self.failed


def verify_run(run: str) -> RunCheck:
    """Check a run: its plan against its fingerprint, then every committed shard against plan and record.

    Args:    run: folder or URL.
    Raises:  CollectionError: the run does not exist. StorageError: its plan or fingerprint can't be read, so there is
             nothing to compare with. StorageUnavailableError, OSError: a file can't be read now.
    """
    made_with, planned = read_run(run)
    specs = {spec.name: spec for spec in planned}
    committed = committed_shards(run).keys()
    unplanned = sorted(committed - specs.keys())
    problems = [Problem(where=f"commits/{name}.json", what="no shard of the plan has this name") for name in unplanned]
    problems += lasting_problems(run) if committed else []
    broken, done, failed = list(unplanned), 0, 0
    names = sorted(committed & specs.keys())
    used: set[str] = set()
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda name: check_shard(run, specs[name], made_with), names)
        pairs = zip(names, found, strict=True)
        for name, (record, of_shard) in counted("reading the shards", pairs, len(names), "shards"):
            problems += of_shard
            used |= {file.name for file in record.files} if record else set()
            if of_shard or record is None:
                broken.append(name)
            else:
                done, failed = done + record.done, failed + record.failed
    return RunCheck(
        shards=len(specs),
        checked=len(names),
        images=sum(len(spec.samples) for spec in specs.values()),
        done=done,
        failed=failed,
        problems=tuple(problems),
        broken=tuple(broken),
        stray=tuple(strays(run, used, set(broken))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a repair did; files are relative to the run."""

    restored: tuple[str, ...]
    """Files of the run and its plan that were written anew."""
    check: RunCheck
    """What a check found after that."""
    removed: tuple[str, ...]


def repair_run(run: str) -> Repair:
    """Restore `run.json` and the plan, check the run, and remove what is broken or stray, while no session works on it.

    The run's lease is held, because what a session is about to commit looks stray.
    Raises: RunBusyError: a session works on the run. StorageError: see `restore`; nothing was changed. Otherwise as
            `verify_run`.
    """
    if not is_run(run):  # fail before the lease creates a folder for a run that does not exist
        read_run(run)
    with held(run):
        restored = restore(run)
        check = verify_run(run)
        return Repair(restored=restored, check=check, removed=repair(run, check))


def repair(run: str, check: RunCheck) -> tuple[str, ...]:
    """Remove what a check found broken or stray, records first, so that the run stays sound if it is killed here; write
    `device.json` anew if a release says what it held.

    Returns: the removed files, relative to the run.
    """
    candidates = storage.list_names(storage.join(run, "candidates"))
    files = [
        *(f"commits/{name}" for name in record_names(run, check.broken)),
        *(f"candidates/{name}" for name in candidates if name.partition(".")[0] in check.broken),
    ]
    if any(problem.where == DEVICE for problem in check.problems):
        restore_machine(run)
    removed = tuple(name for name in files if storage.remove(storage.join(run, name)))
    swept = sweep(run, read_shard_records(run, sorted(committed_shards(run).keys() - set(check.broken))))
    return removed + swept


def lasting_problems(run: str) -> list[Problem]:
    """What is wrong with files that belong to no shard: all that a repair can leave."""
    return [*machine_problems(run), *mixed_problems(run), *input_problems(run)]


def machine_problems(run: str) -> list[Problem]:
    """What is wrong with `device.json`, which a repair restores if a release says what the file held."""
    try:
        settled_machine(run)
    except StorageUnavailableError:
        raise
    except StorageError as error:
        return [Problem(where=DEVICE, what=str(error))]
    return []


def check_shard(run: str, spec: ShardSpec, made_with: Mapping[str, str]) -> tuple[ShardRecord | None, list[Problem]]:
    """Check one committed shard of a run with that fingerprint.

    Returns: its record, if that can be read, and everything that is wrong.
    """
    try:
        record = read_shard_record(run, spec.name)
    except StorageUnavailableError:
        raise
    except StorageError as error:
        return None, [Problem(where=f"commits/{spec.name}.json", what=str(error))]
    if record.made_with not in ("", digest_of(made_with)):
        what = "was made with something else (seed, weights, options or versions) than run.json says"
        return record, [Problem(where=f"commits/{spec.name}.json", what=what)]
    if record.tar is None:
        return record, [Problem(where=f"commits/{spec.name}.json", what="names no tar of maps")]
    tar, tar_problems = content_of(run, f"candidates/{record.tar.name}", record.tar)
    rows_file, rows_problems = content_of(run, f"candidates/{record.rows.name}", record.rows)
    problems = tar_problems + rows_problems
    if tar is None or rows_file is None:
        return record, problems
    rows_name = f"candidates/{record.rows.name}"
    try:
        rows = decode_rows(rows_file)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        return record, [*problems, Problem(where=rows_name, what=f"can't be read as rows: {error}")]
    against = (*_rows_against(spec, record, rows), *_members_against(rows, made_with))
    problems += [Problem(where=rows_name, what=what) for what in against]
    problems += [
        Problem(where=f"candidates/{record.tar.name}", what=what) for what in _tar_against(spec, tar, rows, made_with)
    ]
    if not problems:
        members = dict(samples_of(tar))
        what = "binds other images, maps or scores to each other than the shard has"
        bound = record.binding in ("", binding_of(rows, members)) and record.kept == kept_binding_of(rows, members)
        problems += [] if bound else [Problem(where=f"commits/{spec.name}.json", what=what)]
    return record, problems


def content_of(run: str, where: str, file: StoredFile) -> tuple[bytes | None, list[Problem]]:
    """Read a file of a shard; None with a problem if it is not the file that the shard record names.

    Args: run: the folder of a run, or of a score pass. where: the file, relative to it.
    """
    try:
        return storage.read_checked(storage.join(run, where), file), []
    except StorageUnavailableError:
        raise  # a file that can't be read now may be whole: it must not be removed
    except StorageError as error:
        return None, [Problem(where=where, what=str(error))]


def _rows_against(spec: ShardSpec, record: ShardRecord, rows: Sequence[CandidateRow]) -> Iterator[str]:
    planned, found = [sample.key for sample in spec.samples], [row.key for row in rows]
    if planned != found:
        missing, more = sorted(set(planned) - set(found)), sorted(set(found) - set(planned))
        yield f"{len(found)} rows for {len(planned)} planned images; missing {missing[:3]}, not planned {more[:3]}"
    failed = sum(row.status == "failed" for row in rows)
    if (len(rows) - failed, failed) != (record.done, record.failed):
        yield f"{len(rows) - failed} done and {failed} failed; the record says {record.done} and {record.failed}"


def _members_against(rows: Sequence[CandidateRow], made_with: Mapping[str, str]) -> Iterator[str]:
    size, stops_early = made_with.get("ensemble_size", ""), made_with.get("adaptive", "off") != "off"
    for row in rows:
        if row.status == "done" and size.isdecimal() and not (stops_early or row.members == int(size)):
            yield f"{row.key} has {row.members} ensemble members; the run's images have {size}"
            return


def _tar_against(
    spec: ShardSpec, content: bytes, rows: Sequence[CandidateRow], made_with: Mapping[str, str]
) -> Iterator[str]:
    sizes = {sample.key: (sample.width, sample.height) for sample in spec.samples}
    expected = {row.key: row for row in rows if row.status == "done"}
    try:
        members = dict(samples_of(content))
    except (tarfile.TarError, ValueError) as error:
        yield f"can't be read as a tar of maps: {error}"
        return
    if list(members) != list(expected):
        missing, more = sorted(expected.keys() - members.keys()), sorted(members.keys() - expected.keys())
        yield f"images {len(members)}, predicted rows {len(expected)}; missing {missing[:3]}, without a row {more[:3]}"
    for key in members.keys() & expected.keys() & sizes.keys():
        yield from _sample_against(key, members[key], expected[key], sizes[key], made_with)


def _sample_against(
    key: str,
    members: Mapping[str, bytes],
    row: CandidateRow,
    size_px: tuple[int, int],
    made_with: Mapping[str, str],
) -> Iterator[str]:
    wanted = {*_MAPS, "json"} | ({KEPT} if "keep_members" in made_with else set())
    if members.keys() != wanted:
        yield f"{key} has the members {sorted(members)}, not {sorted(wanted)}"
        return
    if KEPT in members:
        yield from _kept_against(key, members[KEPT], row, size_px, made_with)
    if members["json"] != encode_json(row.stored()):
        yield f"{key}.json is not the row of the parquet file"
    for name in _MAPS:
        try:
            height, width = decode_png(members[name]).shape
        except ValueError as error:
            yield f"{key}.{name} is not a map: {error}"
            continue
        if (width, height) != size_px:
            yield f"{key}.{name} has {width} x {height} px, its image {size_px[0]} x {size_px[1]}"


def _kept_against(
    key: str, content: bytes, row: CandidateRow, size_px: tuple[int, int], made_with: Mapping[str, str]
) -> Iterator[str]:
    try:
        masks = decode_masks(content, row.members)
    except ValueError as error:
        yield f"{key}.{KEPT} does not have the {row.members} masks of its row: {error}"
        return
    _, height, width = masks.shape
    own_size = made_with.get("processing_res") == "0" and made_with.get("weights") != "fake"
    if own_size and (width, height) != size_px:
        yield f"{key}.{KEPT} has masks of {width} x {height} px; they were made at its image's own size"
    # Exact counts, but the sum of their ratios may differ in its last bits on another machine.
    if not abs((found := pairwise_iou(masks)) - row.scores["pairwise_iou"]) < 1e-9:
        yield f"{key}.{KEPT} gives a pairwise_iou of {found:.6g}; its row has {row.scores['pairwise_iou']:.6g}"


def strays(run: str, used: set[str], broken: set[str], files: str = "candidates") -> Iterator[str]:
    """Files that no record names, and unfinished files: both are left by sessions that were killed.

    Args: run: the folder of a run, or of a score pass. used: files that records name. broken: shards with a problem.
          files: the folder that has the files that records name.
    """
    for folder in (files, "commits", "journal"):
        for name in storage.list_names(storage.join(run, folder), hidden=True):
            is_used = folder == "commits" or name in used or name.partition(".")[0] in broken
            if name.startswith(".") or not is_used:
                yield f"{folder}/{name}"
