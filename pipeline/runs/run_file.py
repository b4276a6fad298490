"""RUN/run.json and RUN/plan/: what a run was made with, and which image is in which shard.

A run can grow: images that are new in the annotations get shards of their own, with a plan part of their own, and what
was there is not touched. Nothing else about a run ever changes.

RUN/plan/000000.parquet   the first plan, from shard 000000 on
RUN/plan/000042.parquet   what came later, from shard 000042 on
RUN/run.json              the fingerprint; its digest of the plan says which parts count
RUN/plan/inputs.json      where the newest session found annotations and images: no part of any digest
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from pipeline.collection.config import InputConfig
from pipeline.errors import CollectionError, RunMismatchError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.records import Sample, ShardSpec
from pipeline.runs.fingerprint import check_fingerprint
from pipeline.runs.plan import decode_plan, encode_plan, plan_digest, plan_shards

log = logging.getLogger(__name__)

_IDENTITY = ("image_id", "file_name", "width", "height", "license_id")
"""What an image may not change: all of it is in the manifest. Where its bytes are may change."""
_SHOWN = 3


def open_run(
    run: str, samples: Sequence[Sample], shard_size: int, made_with: Mapping[str, str]
) -> tuple[tuple[ShardSpec, ...], dict[str, str]]:
    """Begin a run, go on with it, or let it grow.

    `run.json` is written after the plan, so a run that has it has its plan.
    Args:    made_with: the fingerprint, without the plan.
    Returns: the shard specs, and the whole fingerprint.
    Raises:  RunMismatchError: the run was made with something else, or its images are gone from the annotations or
             have changed there. StorageError: what is stored can't be read.
    """
    begins = not storage.exists(_url(run))
    specs, whole, added = plan_of(run, samples, shard_size, made_with)
    if added:
        storage.publish(_part_url(run, added[0].index), encode_plan(added))
        record = encode_json({"format": 1, "fingerprint": whole})
        if not begins:
            storage.publish(_url(run), record)
        elif not storage.create(_url(run), record):  # somebody else has begun it meanwhile
            return open_run(run, samples, shard_size, made_with)
    if added and not begins:
        log.info("the run grows by %d images in %d shards", sum(len(spec.samples) for spec in added), len(added))
    return specs, whole


def plan_of(
    run: str, samples: Sequence[Sample], shard_size: int, made_with: Mapping[str, str]
) -> tuple[tuple[ShardSpec, ...], dict[str, str], tuple[ShardSpec, ...]]:
    """What `open_run` would give, and which of the shards are new; nothing is written."""
    planned: tuple[ShardSpec, ...] = ()
    stored: dict[str, str] = {}
    if storage.exists(_url(run)):
        stored, planned = read_run(run)
        check_fingerprint(run, {name: value for name, value in stored.items() if name != "plan"}, made_with)
    specs = _with_present_samples(run, planned, samples)
    added = _added(specs, samples, shard_size)
    plan = stored["plan"] if stored and not added else plan_digest(specs + added)
    return specs + added, {**made_with, "plan": plan}, added


def read_run(run: str) -> tuple[dict[str, str], tuple[ShardSpec, ...]]:
    """Fingerprint and plan of a run, as they are stored.

    Raises: CollectionError: there is no run. StorageError: one of them can't be read, or they do not belong together.
    """
    url = _url(run)
    if not storage.exists(url):
        raise CollectionError(f"{run} is no run: there is no {url}")
    try:
        stored = dict(json.loads(storage.read(url))["fingerprint"])
        planned = stored["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{url} is no run record ({error!r}): give another --out") from error
    specs: tuple[ShardSpec, ...] = ()
    for name in [name for name in storage.list_names(storage.join(run, "plan")) if name.endswith(".parquet")]:
        specs += decode_plan(storage.read(storage.join(run, "plan", name)))
        if plan_digest(specs) == planned:
            return stored, specs  # a part after this one is of a session that ended before it could count
    raise StorageError(f"{run}/plan does not hold the plan that {url} names; begin anew with another --out")


def remember_inputs(run: str, inputs: InputConfig) -> None:
    """Write down where annotations and images were found, for whoever makes a release of the run later."""
    content, url = encode_json(asdict(inputs)), storage.join(run, "plan", "inputs.json")
    if not storage.exists(url) or storage.read(url) != content:
        storage.publish(url, content)


def remembered_inputs(run: str) -> InputConfig:
    """What `remember_inputs` wrote.

    Raises: CollectionError: nothing is there, or nothing that can be read.
    """
    url = storage.join(run, "plan", "inputs.json")
    try:
        return InputConfig(**json.loads(storage.read(url)))
    except StorageUnavailableError:
        raise
    except (StorageError, ValueError, TypeError) as error:
        raise CollectionError(f"{url} does not say where the images are ({error}); is {run} a run?") from error


def _with_present_samples(run: str, planned: Sequence[ShardSpec], samples: Sequence[Sample]) -> tuple[ShardSpec, ...]:
    """The planned shards, with their images as they are found now."""
    present = {sample.key: sample for sample in samples}
    before = [sample for spec in planned for sample in spec.samples]
    gone = [
        f"  key {sample.key}, {sample.file_name}: not listed any more" for sample in before if sample.key not in present
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
            f"{run} holds a run of other images: {len(gone)} of {len(before)} are gone from the annotations, "
            f"{len(changed)} fields have changed\n{lines}\nGive the annotations of the run, with more images if you "
            "like, or another --out"
        )
    return tuple(replace(spec, samples=tuple(present[sample.key] for sample in spec.samples)) for spec in planned)


def _added(planned: Sequence[ShardSpec], samples: Sequence[Sample], shard_size: int) -> tuple[ShardSpec, ...]:
    known = {sample.key for spec in planned for sample in spec.samples}
    first = planned[-1].index + 1 if planned else 0
    new = [sample for sample in samples if sample.key not in known]
    return tuple(replace(spec, index=first + spec.index) for spec in plan_shards(new, shard_size))


def _url(run: str) -> str:
    return storage.join(run, "run.json")


def _part_url(run: str, first_shard: int) -> str:
    return storage.join(run, "plan", f"{first_shard:06d}.parquet")
