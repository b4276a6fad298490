"""Shard records: what is committed in the folder of a run or of a score pass.

FOLDER/commits/000042.json   the record of shard 000042, created last: without it, the shard's files do not count

Files of a shard have the beginning of their own SHA-256 in their names, and records are created exclusively. So nothing
that is committed is ever overwritten: a session that was paused and wakes up after another took over writes the same
bytes under the same name, or a file that no record names. When a shard is computed again, its new record gets a number
(000042.1.json); the record with the highest number counts.
"""

import re
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from model.documents import parse_json
from pipeline.errors import StorageError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.records import ShardRecord, StoredFile

_OF_PASS = re.compile(r"/passes/[^/]+/?$")
_DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 in its name."""
_READERS = 16
"""Threads that read records: these are small files, so what counts is how many are waited for at once."""


def is_pass(folder: str) -> bool:
    """Is it the folder of a score pass, not of a run?"""
    return bool(_OF_PASS.search(folder))


def repair_advice(folder: str) -> str:
    """What to do about a damaged file of a shard, in the folder of a run or of a score pass."""
    return f"run sod run verify {_OF_PASS.sub('', folder)} --repair, and the shard is computed again"


def publish_file(folder: str, shard: str, extension: str, content: bytes) -> StoredFile:
    """Write a file of a shard under a name that its content decides."""
    digest = storage.stored_file("", content).sha256[:_DIGITS]
    return storage.publish(storage.join(folder, f"{shard}.{digest}.{extension}"), content)


def commit(run: str, record: ShardRecord, before: ShardRecord | None, folder: str) -> ShardRecord:
    """Create a shard's record, whose files are written.

    Args:    before: the record that the new one takes the place of; it counts until the new one exists.
             folder: of the files, relative to the run.
    Returns: the record that counts: that of another process if one has committed the shard in the meantime.
    """
    if not _create(run, record):
        return read_shard_record(run, record.shard)
    if before is not None:
        for file in set(before.files) - set(record.files):
            storage.remove(storage.join(run, folder, file.name))
    return record


def create_again(run: str, record: ShardRecord) -> bool:
    """Create a shard's record once more, under the next number.

    Returns: False if that number is taken, and another record counts.
    """
    return _create(run, replace(record, number=record.number + 1))


def _create(run: str, record: ShardRecord) -> bool:
    return storage.create(_record_url(run, record.shard, record.number), encode_json(record.stored()))


def record_names(run: str, shards: Collection[str]) -> list[str]:
    """The names of all records of these shards, whether they count or not."""
    names = storage.list_names(storage.join(run, "commits"))
    return [name for name in names if name.partition(".")[0] in shards]


def _record_url(run: str, shard: str, number: int) -> str:
    return storage.join(run, "commits", f"{shard}.{number}.json" if number else f"{shard}.json")


def committed_shards(run: str) -> dict[str, int]:
    """Shard → number of the record that counts, for every shard that has a record."""
    newest: dict[str, int] = {}
    for name in storage.list_names(storage.join(run, "commits")):
        shard, _, number = name.removesuffix(".json").partition(".")
        if name.endswith(".json") and (number.isdecimal() or not number):
            newest[shard] = max(newest.get(shard, 0), int(number or 0))
    return newest


def is_committed(run: str, shard: str) -> bool:
    """Whether the shard has a record."""
    return storage.exists(_record_url(run, shard, 0))


def read_shard_record(run: str, shard: str, number: int | None = None) -> ShardRecord:
    """Read the record of a committed shard.

    Args:   number: of the record that counts, if that is known (see `committed_shards`).
    Raises: StorageError: it is missing, is not a record, or belongs to another shard.
    """
    if number is None:
        number = 0
        while storage.exists(_record_url(run, shard, number + 1)):
            number += 1
    url = _record_url(run, shard, number)
    content = storage.read(url)
    try:
        values = parse_json(content)
        values |= {name: StoredFile(**values[name]) for name in ("tar", "rows") if name in values}
        record = ShardRecord(**values)
        stems = [re.sub(r"\.\w+(?=\.)", "", file.name) for file in record.files]
        named = (record.shard, record.number, *stems)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(f"{url} is not a shard record ({error}): {repair_advice(run)}") from error
    if named != (shard, number, *(f"{shard}.{name}" for name in ("tar", "parquet")[-len(stems) :])):
        raise StorageError(f"{url} is the record of another shard {named}: {repair_advice(run)}")
    return record


def read_shard_records(run: str, shards: Sequence[str]) -> dict[str, ShardRecord]:
    """Read the records of many committed shards in parallel; shard → record, in their order.

    Raises: StorageError: as `read_shard_record`.
    """
    # A hundred at a time: on a local disk, handing one record to a thread took longer than reading it.
    hundreds = [shards[start : start + 100] for start in range(0, len(shards), 100)]
    newest = committed_shards(run)
    with ThreadPoolExecutor(_READERS) as pool:
        read = pool.map(
            lambda some: {shard: read_shard_record(run, shard, newest.get(shard, 0)) for shard in some}, hundreds
        )
        return {shard: record for records in read for shard, record in records.items()}
