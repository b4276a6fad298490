"""Restores RUN/run.json and RUN/plan/ where they are damaged or lost, from what the rest of the run proves.

A part of the plan is proven by its name, which has the beginning of its digest: made again from the remembered inputs,
it is right if it has that digest. A fingerprint is proven by the shard records, which carry its digest: another
`run.json`, a release of the run, or a new session may say what it was. What is not proven is not written.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from model.documents import parse_json
from pipeline.collection.gather import read_collection
from pipeline.errors import StorageError, StorageUnavailableError, UsageError
from pipeline.files import storage
from pipeline.records import ShardRecord, ShardSpec
from pipeline.runs.commits import committed_shards, read_shard_record
from pipeline.runs.fingerprint import code_sha256, digest_of
from pipeline.runs.inputs import remembered_inputs
from pipeline.runs.plan import encode_plan, plan_digest
from pipeline.runs.run_file import (
    document_name,
    document_numbers,
    encode_document,
    newest_document,
    part_name,
    read_document,
    read_part,
    shards_from,
)
from pipeline.software import software

log = logging.getLogger(__name__)

_PART = re.compile(r"(\d{6,})\.[0-9a-f]{16}\.parquet")
_OF_RELEASES = ("plan", "device", "instructions", "mixed")
"""Fields that a release's fingerprint has beside those of the run's; its plan may be an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A `run.json` that could be read."""

    number: int
    made_with: dict[str, str]
    """Without the plan."""
    plan: str
    parts: list[str]


def is_run(run: str) -> bool:
    """Is there a run in this folder, whole or damaged?"""
    return bool(document_numbers(run) or committed_shards(run))


def restore_lost(run: str, made_with: Mapping[str, str]) -> None:
    """Restore a `run.json` that can't be read, if the shard records prove that it held a session's own request.

    Args:   made_with: the fingerprint of the request, without the plan.
    Raises: StorageError: nothing proves it.
    """
    try:
        newest_document(run)
    except StorageUnavailableError:
        raise
    except StorageError as error:
        log.warning("%s; restored %s", error, ", ".join(restore(run, made_with)))


def restore(run: str, made_with: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Write anew what is damaged or lost of `run.json` and the plan, while this session holds the run.

    Args:    made_with: a fingerprint to try, without the plan: that of a session's own request.
    Returns: the files that were written, relative to the run; none if all are whole, or an earlier version wrote them.
    Raises:  StorageError: something is damaged, and nothing proves what it held; the message says what to do.
             StorageUnavailableError: a file can't be read now.
    """
    documents = _documents(run)
    readable = [found for _, found in sorted(documents.items(), reverse=True) if found]
    document = readable[0] if readable else None
    there = [name for name in storage.list_names(storage.join(run, "plan")) if _PART.fullmatch(name)]
    if not there and not any(_PART.fullmatch(name) for found in readable for name in found.parts):
        return ()  # names of earlier versions prove nothing
    whole = _fingerprint(run, [found.made_with for found in readable], made_with)
    newest = max(documents, default=0)
    before = document.number - len(document.parts) if document else -1  # earlier versions had several parts at first
    parts = _counting_parts(run, there, document, newest - before)
    newest = max(newest, len(parts) + before)
    specs = {name: _part_or_none(run, name) for name in parts}
    contents = _made_again(run, specs, whole)
    _require_planned(run, {spec.name for found in specs.values() for spec in found or ()})
    code = software() if whole.get("code") == code_sha256() else {}  # of other code, nothing else tells the commit
    for number in range(newest + 1):
        until = parts[: len(parts) - newest + number]
        plan = plan_digest([spec for name in until for spec in specs[name] or ()])
        found = documents.get(number)
        expected = _Document(number=number, made_with=whole, plan=plan, parts=until)
        if found is None or (number == newest and found != expected):
            contents[document_name(number)] = encode_document({**whole, "plan": plan}, until, code)
    for name, content in contents.items():
        storage.publish(storage.join(run, name), content)
    return tuple(contents)


def _documents(run: str) -> dict[int, _Document | None]:
    """Number → `run.json` of that number; None for one that can't be read."""
    found: dict[int, _Document | None] = {}
    for number in document_numbers(run):
        try:
            stored, parts = read_document(run, number)
            plan = stored.pop("plan")
            found[number] = _Document(number=number, made_with=stored, plan=plan, parts=parts)
        except StorageUnavailableError:
            raise
        except StorageError:
            found[number] = None
    return found


def _fingerprint(run: str, stored: Sequence[dict[str, str]], requested: Mapping[str, str] | None) -> dict[str, str]:
    """The fingerprint that the shard records prove.

    Args: stored: of every readable `run.json`, the newest first.
    """
    claims = Counter(_claims(run))
    own = stored[:1] if not claims else [found for found in stored if digest_of(found) in claims][:1]
    if own:
        return own[0]
    others = [*_of_releases(run), *([dict(requested)] if requested else [])]
    for found in others:
        if digest_of(found) in claims or not claims:
            return found
    if stored and claims.total() == 1:
        return stored[0]  # then the record may be the damaged one, and costs one shard
    raise StorageError(
        f"{storage.join(run, document_name(0))} is damaged or missing, and neither a release in {run}/release nor "
        f"this request is what the {claims.total()} committed shards were made with: run the run's own command again, "
        "which restores it, or put back a copy of the file"
    )


def _claims(run: str) -> Iterator[str]:
    """The digests of fingerprints that shard records carry."""
    for shard, number in committed_shards(run).items():
        record = _record_or_none(run, shard, number)
        if record and record.made_with:
            yield record.made_with


def _record_or_none(run: str, shard: str, number: int) -> ShardRecord | None:
    """The record of a shard; None if it can't be read, which the check names."""
    try:
        return read_shard_record(run, shard, number)
    except StorageUnavailableError:
        raise
    except StorageError:
        return None


def _of_releases(run: str) -> Iterator[dict[str, str]]:
    """What the run's own releases say that it was made with."""
    folder = storage.join(run, "release")
    for name in storage.list_names(folder):
        with suppress(StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            stated = parse_json(storage.read(storage.join(folder, name, "release.json")))["made_from"]["fingerprint"]
            yield {field: str(value) for field, value in stated.items() if field not in _OF_RELEASES}


def _counting_parts(run: str, there: list[str], document: _Document | None, least: int) -> list[str]:
    """The parts of the plan that count: those that the newest readable `run.json` names; and after them as many as
    there are documents, and those that have committed shards, which no session commits before they count.

    Args:   there: parts in the folder, in order. least: how many count at least.
    Raises: StorageError: which ones count can't be told.
    """
    named = document.parts if document else []
    if document and not set(named) <= set(there):  # a name may be what is damaged, or a file is
        named = next((found for found in [there[: len(named)]] if _digest(run, found) == document.plan), named)
    later = [name for name in there if not named or _first(name) > _first(named[-1])]
    firsts = sorted({_first(name) for name in later})
    counting = {*firsts[: max(0, least - len(named))], *committed_shards(run)}
    parts = named + [name for name in later if _first(name) in counting]
    starts = [_first(name) for name in parts]
    if starts[:1] != ["000000"] or len(set(starts)) < len(starts) or len(parts) < least:
        raise StorageError(
            f"{run}/plan has {len(there)} parts ({', '.join(there[:3])}), and which of {least} or more count can't be "
            "told: put back a copy of the folder, or give another --out"
        )
    return parts


def _require_planned(run: str, planned: set[str]) -> None:
    """Keep shards from a check that would take them for strays, when the part of the plan that has them is lost.

    Raises: StorageError: there is such a shard.
    """
    committed = committed_shards(run)
    lost = [shard for shard in sorted(committed.keys() - planned) if _record_or_none(run, shard, committed[shard])]
    if lost:
        raise StorageError(
            f"shard {lost[0]} is committed, and no part of {run}/plan has it: run the run's own command again, which "
            "plans it anew, or put back a copy of the folder"
        )


def _first(part: str) -> str:
    """The name of a part's first shard."""
    return part.partition(".")[0]


def _digest(run: str, parts: Sequence[str]) -> str:
    """The digest of a plan of these parts; "" if one of them is damaged."""
    specs = [_part_or_none(run, name) for name in parts]
    return "" if None in specs else plan_digest([spec for found in specs for spec in found or ()])


def _part_or_none(run: str, name: str) -> tuple[ShardSpec, ...] | None:
    """The shards of a part; None if it is not what its name stands for."""
    try:
        return read_part(run, name, proven=True)
    except StorageUnavailableError:
        raise
    except StorageError:
        return None


def _made_again(run: str, specs: dict[str, tuple[ShardSpec, ...] | None], whole: Mapping[str, str]) -> dict[str, bytes]:
    """File → content of the part that is damaged, made again from the remembered inputs; `specs` gets its shards."""
    damaged = [name for name, found in specs.items() if found is None]
    if not damaged:
        return {}
    reason = f"{len(damaged)} parts are damaged, and only one can be told from the rest"
    if len(damaged) == 1:
        (name,) = damaged
        known = {sample.key for found in specs.values() for spec in found or () for sample in spec.samples}
        try:
            inputs = remembered_inputs(run)
            samples = [s for s in read_collection(inputs).samples if s.key not in known]
            again = shards_from(int(_first(name)), samples, int(whole["shard_size"]))
            if again and part_name(again) == name:
                specs[name] = again
                return {f"plan/{name}": encode_plan(again)}
            found = f"{inputs.annotations or inputs.images} has {len(samples)} images that are in no other part"
            reason = f"{found}, not those of this one"
        except (UsageError, KeyError, ValueError) as error:  # the last two: shard_size is damaged too
            reason = str(error)
    raise StorageError(
        f"{storage.join(run, 'plan', damaged[0])} is damaged or missing, and can't be made again: {reason}. Put back "
        "the annotations and images of the run, or a copy of the file; or give another --out"
    )
