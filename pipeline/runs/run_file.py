"""RUN/run.json and RUN/plan/: what a run was made with, and which image is in which shard.

A run can grow: images that are new in the annotations get their own shards and their own part of the plan, and existing
shards stay as they are. Nothing else about a run ever changes.

RUN/plan/000000.DIGEST.parquet   the first plan, from shard 000000 on
RUN/plan/000042.DIGEST.parquet   images added later, from shard 000042 on
RUN/run.json                     the fingerprint, the parts of the plan that count, and the code that wrote it
RUN/run.1.json                   both, after images were added; the one with the highest number counts
RUN/plan/index/                  what large files hold (`collection/kept.py`); in no digest
RUN/plan/inputs.json             where the newest session found annotations and images; in no digest

DIGEST says which images are in the part, and files are created exclusively, never changed: a session that was paused
while another let the run grow can't take anything back.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from model.documents import parse_json
from pipeline.errors import CollectionError, RunMismatchError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.records import Sample, ShardSpec
from pipeline.runs.commits import committed_shards
from pipeline.runs.fingerprint import check_fingerprint
from pipeline.runs.machine import note_mixed
from pipeline.runs.plan import decode_plan, encode_plan, plan_digest, plan_shards
from pipeline.software import software

log = logging.getLogger(__name__)

_IDENTITY = ("image_id", "file_name", "width", "height", "license_id")
"""Fields of an image that may not change: all are in the manifest. The place of its bytes may change."""
_SHOWN = 3
FORMAT = 3
"""Increases when `run.json` says more. Before 3, it did not name the code; before 2, nor the parts of the plan."""
_OF_CODE = {"version": re.compile(r"[\w.+-]{1,40}", re.ASCII), "commit": re.compile(r"[0-9a-f]{40,64}(, changed)?")}
_PART = re.compile(r"\w+(\.\w+)?\.parquet")
_DOCUMENT = re.compile(r"run(?:\.([1-9]\d{0,8}))?\.json")


def open_run(
    run: str,
    samples: Sequence[Sample],
    shard_size: int,
    made_with: Mapping[str, str],
    *,
    accept_mixed: bool = False,
) -> tuple[tuple[ShardSpec, ...], dict[str, str]]:
    """Begin a run, resume it, or let it grow.

    `run.json` is written after the plan, so a run that has `run.json` has its plan.
    Args:    made_with: the fingerprint, without the plan. accept_mixed: note versions of libraries that differ.
    Returns: the shard specs, and the whole fingerprint.
    Raises:  RunMismatchError: the run was made with something else, or its images are gone from the collection or
             have changed there. StorageError: a stored file can't be read.
    """
    number, _, parts = newest_document(run)
    begins = number < 0
    specs, whole, added = plan_of(run, samples, shard_size, made_with, accept_mixed=accept_mixed)
    mixed = {name: value for name, value in made_with.items() if whole[name] != value}
    if mixed:
        note_mixed(run, mixed)
    if added:
        name = part_name(added)
        storage.create(storage.join(run, "plan", name), encode_plan(added))
        content = encode_document(whole, [*parts, name], software())
        if not storage.create(_url(run, number + 1), content):  # another session was faster
            return open_run(run, samples, shard_size, made_with, accept_mixed=accept_mixed)
    if added and not begins:
        log.info("the run grows by %d images in %d shards", sum(len(spec.samples) for spec in added), len(added))
    return specs, whole


def plan_of(
    run: str,
    samples: Sequence[Sample],
    shard_size: int,
    made_with: Mapping[str, str],
    *,
    accept_mixed: bool = False,
) -> tuple[tuple[ShardSpec, ...], dict[str, str], tuple[ShardSpec, ...]]:
    """What `open_run` would return, and which of the shards are new; writes nothing."""
    planned: tuple[ShardSpec, ...] = ()
    stored: dict[str, str] = {}
    if is_begun(run):
        stored, planned = read_run(run)
        begun_with = {name: value for name, value in stored.items() if name != "plan"}
        accepted = check_fingerprint(run, begun_with, made_with, made_by(run), accept_mixed=accept_mixed)
        made_with = {**made_with, **{name: begun_with[name] for name in accepted if name in begun_with}}
    specs = with_present_samples(run, planned, samples)
    added = _added(specs, samples, shard_size)
    plan = stored["plan"] if stored and not added else plan_digest(specs + added)
    return specs + added, {**made_with, "plan": plan}, added


def read_run(run: str) -> tuple[dict[str, str], tuple[ShardSpec, ...]]:
    """Read the fingerprint and the plan of a run.

    Raises: CollectionError: the run does not exist. StorageError: one of the two can't be read, or they do not belong
            together.
    """
    number, stored, parts = newest_document(run)
    if number < 0:
        raise CollectionError(f"{run} is not a run: {_url(run, 0)} does not exist")
    specs = tuple(spec for name in parts for spec in read_part(run, name))
    if plan_digest(specs) != stored["plan"]:
        for name in parts:
            read_part(run, name, proven=True)
        raise StorageError(f"{run}/plan does not hold the plan that {_url(run, number)} names: {_advice(run)}")
    return stored, specs


def read_part(run: str, name: str, *, proven: bool = False) -> tuple[ShardSpec, ...]:
    """Read one part of the plan.

    Args:   proven: compare it with the digest in its name, if that has one.
    Raises: StorageError: it is missing, is no plan, or not the one that its name stands for.
    """
    url = storage.join(run, "plan", name)
    try:
        specs = decode_plan(storage.read(url))
        found = part_name(specs) if proven and name.count(".") == 2 else name
    except StorageUnavailableError:
        raise
    except (StorageError, ValueError, TypeError, LookupError) as error:
        raise StorageError(f"{url} can't be read ({str(error)[:200]}): {_advice(run)}") from error
    if found != name:
        raise StorageError(f"{url} does not hold the plan that its name stands for: {_advice(run)}")
    return specs


def part_name(specs: Sequence[ShardSpec]) -> str:
    """The name of a part of the plan with these shards."""
    return f"{specs[0].name}.{plan_digest(specs)[:16]}.parquet"


def encode_document(
    fingerprint: Mapping[str, str], parts: Sequence[str], code: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """The content of a `run.json`.

    Args: fingerprint: with the plan. parts: files of the plan that count.
          code: see `pipeline.software.software`; empty if it is not known. Nothing is compared with it.
    """
    named = {"made_by": dict(code)} if code else {}
    return encode_json({"format": FORMAT, "fingerprint": dict(fingerprint), "plan": list(parts), **named})


def made_by(run: str) -> dict[str, str]:
    """Version and commit of the code that began a run, for people; empty if its `run.json` does not say so."""
    try:
        stated = parse_json(storage.read(_url(run, 0)))["made_by"]
        return {name: stated[name] for name, form in _OF_CODE.items() if form.fullmatch(stated.get(name, ""))}
    except StorageUnavailableError:
        raise
    except (StorageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def is_begun(run: str) -> bool:
    """Is there a run of this name?"""
    return storage.exists(_url(run, 0))


def newest_document(run: str) -> tuple[int, dict[str, str], list[str]]:
    """Number of the `run.json` that counts, -1 if there is none; its fingerprint; the files of the plan it names.

    Raises: StorageError: it can't be read, or is missing although something depends on it.
    """
    numbers = document_numbers(run)
    if missing := set(range(max(numbers, default=-1) + 1)).difference(numbers):
        raise StorageError(f"{_url(run, min(missing))} is missing: {_advice(run)}")
    if not numbers and committed_shards(run):
        raise StorageError(f"{_url(run, 0)} is missing, although shards are committed: {_advice(run)}")
    return (max(numbers), *read_document(run, max(numbers))) if numbers else (-1, {}, [])


def document_numbers(run: str) -> list[int]:
    """The number of each `run.json` there is."""
    return [int(match[1] or 0) for name in storage.list_names(run) if (match := _DOCUMENT.fullmatch(name))]


def read_document(run: str, number: int) -> tuple[dict[str, str], list[str]]:
    """The fingerprint in the `run.json` of that number, and the files of the plan that it names.

    Raises: StorageError: it can't be read.
    """
    try:
        values = parse_json(storage.read(_url(run, number)))
        stored = dict(values["fingerprint"])
        parts = values["plan"] if values["format"] > 1 else _parts_of_format_1(run, stored["plan"])
        if not all(_PART.fullmatch(name) for name in parts) or not all(
            isinstance(text, str) for text in (stored["plan"], *stored, *stored.values())
        ):
            raise ValueError(f"the plan's files are {parts!r}, its fields {stored!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"{_url(run, number)} does not hold a fingerprint ({repr(error)[:200]}): {_advice(run)}"
        ) from error
    return stored, parts


def _parts_of_format_1(run: str, planned: str) -> list[str]:
    """The files of a plan in a run of an earlier version, where its digest tells which of them count."""
    parts: list[str] = []
    specs: tuple[ShardSpec, ...] = ()
    for name in [name for name in storage.list_names(storage.join(run, "plan")) if name.endswith(".parquet")]:
        specs += read_part(run, name)
        parts.append(name)
        if plan_digest(specs) == planned:
            break
    return parts


def with_present_samples(run: str, planned: Sequence[ShardSpec], samples: Sequence[Sample]) -> tuple[ShardSpec, ...]:
    """The planned shards, with their images as they were found now.

    Raises: RunMismatchError: images are gone from the collection or have changed there.
    """
    present = {sample.key: sample for sample in samples}
    before = [sample for spec in planned for sample in spec.samples]
    present |= {sample.key: _settled(sample, present[sample.key]) for sample in before if sample.key in present}
    gone = [
        f"  key {sample.key}, {sample.file_name}: no longer listed" for sample in before if sample.key not in present
    ]
    changed = [
        f"  key {sample.key}: {name} was {getattr(sample, name)!r}, is {getattr(present[sample.key], name)!r}"
        for sample in before
        if sample.key in present
        for name in _IDENTITY
        if getattr(sample, name) != getattr(present[sample.key], name)
    ]
    if gone or changed:
        lines = "\n".join(gone[:_SHOWN] + changed[:_SHOWN])
        raise RunMismatchError(
            f"{run} holds a run on other images: {len(gone)} of {len(before)} are gone from the collection, "
            f"{len(changed)} fields have changed\n{lines}\nGive the collection of the run, with more images if you "
            "like, or another --out"
        )
    return tuple(replace(spec, samples=tuple(present[sample.key] for sample in spec.samples)) for spec in planned)


def _settled(planned: Sample, present: Sample) -> Sample:
    """An image whose size is not known now, or was not when it was planned: as planned.

    Without annotations a size comes from the image itself, and a server may answer on one day and not on another.
    """
    if present.problem and not present.width:
        return replace(present, width=planned.width, height=planned.height)
    if planned.problem and not planned.width:
        return replace(present, width=0, height=0, problem=planned.problem, problem_detail=planned.problem_detail)
    return present


def _added(planned: Sequence[ShardSpec], samples: Sequence[Sample], shard_size: int) -> tuple[ShardSpec, ...]:
    known = {sample.key for spec in planned for sample in spec.samples}
    first = planned[-1].index + 1 if planned else 0
    new = [sample for sample in samples if sample.key not in known]
    return shards_from(first, new, shard_size)


def shards_from(first: int, samples: Sequence[Sample], shard_size: int) -> tuple[ShardSpec, ...]:
    """Plan samples as shards that are numbered from `first` on."""
    return tuple(replace(spec, index=first + spec.index) for spec in plan_shards(samples, shard_size))


def document_name(number: int) -> str:
    """The name of the `run.json` of that number."""
    return f"run.{number}.json" if number else "run.json"


def _url(run: str, number: int) -> str:
    return storage.join(run, document_name(number))


def _advice(run: str) -> str:
    return f"sod run verify {run} --repair restores it where the rest of the run proves what it held"
