"""One shard, from its spec to its commit record: a plain function that any process can call.

Bytes are read and decoded ahead in threads, so that the model never waits for a disk. What is wrong with one image
becomes its row; what is wrong with the machine is raised, and the shard is not committed.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from model.config import EnsembleConfig, ModelConfig
from model.prediction import Prediction, SaliencyModel
from pipeline.batches import predict_batch, read_ahead
from pipeline.candidates import (
    commit_shard,
    encode_members,
    is_committed,
    read_members,
    read_record,
    read_rows,
    replace_shard,
)
from pipeline.errors import SampleError
from pipeline.images import decode, read_bytes
from pipeline.records import CandidateRow, Sample, ShardRecord, ShardSpec
from pipeline.scores import score
from pipeline.suspects import Caution, forget, kills_replica, note


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """What `process_shard` needs beside spec and model; the same for all shards of a run."""

    run: str
    """The run's folder."""
    batch_images: int
    max_image_bytes: int
    max_image_pixels: int
    retry_failed: bool = False
    """Shards are handed out that are committed: what they have is kept, but for batches with a failed image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSetup:
    """What a replica is made of: a model, and what it works on."""

    model: ModelConfig
    ensemble: EnsembleConfig
    work: ShardWork


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """The record of a committed shard, and its rows."""

    record: ShardRecord
    rows: tuple[CandidateRow, ...]
    computed: int
    """Images that were read and predicted now; the others' rows were there."""
    seconds: float
    """What it took, without loading the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """An image that was read: `pixels`, or the `problem` that kept them away."""

    sample: Sample
    sha256: str
    image_bytes: int
    pixels: UInt8[np.ndarray, "h w 3"] | None
    problem: SampleError | None


def process_shard(
    spec: ShardSpec,
    model: SaliencyModel,
    work: ShardWork,
    on_image: Callable[[str], None] = lambda _: None,
    caution: Caution = Caution(),  # noqa: B008 (frozen)
) -> ShardResult:
    """Predict, score and commit the images of one shard.

    Args:   on_image: called with the key of each image whose row is settled.
            caution: of a shard that has killed a replica.
    Raises: OSError: reading or writing failed for a reason that may pass; nothing is committed.
    """
    started = time.perf_counter()
    before = _record_before(spec, work)
    settled = {} if before is None else _settled(spec, work, before)
    rows = {key: row for key, (row, _) in settled.items()}
    members = {key: contents for key, (_, contents) in settled.items()}
    todo = [sample for sample in spec.samples if sample.key not in settled]
    # Batches are cut by position, so who failed never moves an image to another batch.
    reads = _with_care(spec, todo, model, work, caution) if caution.noted else _ahead(todo, work)
    for batch in reads:
        for read, outcome in zip(batch, _predict(batch, model), strict=True):
            row = _row(read, outcome)
            rows[row.key] = row
            if isinstance(outcome, Prediction):
                members[row.key] = encode_members(row, outcome)
            on_image(row.key)
    keys = [sample.key for sample in spec.samples]
    in_order = tuple(rows[key] for key in keys), [(key, members[key]) for key in keys if key in members]
    if before is None:
        record = commit_shard(work.run, spec.name, *in_order)
    else:
        record = replace_shard(work.run, before, *in_order)
    if caution.noted:
        forget(work.run, spec.name)
    return ShardResult(record=record, rows=in_order[0], computed=len(todo), seconds=time.perf_counter() - started)


def _ahead(todo: Sequence[Sample], work: ShardWork) -> Iterator[list[_Read]]:
    return read_ahead(todo, lambda sample: _read(sample, work), work.batch_images)


def _with_care(
    spec: ShardSpec, todo: Sequence[Sample], model: SaliencyModel, work: ShardWork, caution: Caution
) -> Iterator[list[_Read]]:
    """One batch after the other, each noted before it is read, until the caller asks for the next one."""
    for start in range(0, len(todo), work.batch_images):
        batch = todo[start : start + work.batch_images]
        touched = [sample for sample in batch if sample.key not in caution.skipped]
        for sample in touched:
            if sample.key in caution.alone:
                note(work.run, spec.name, [sample.key])
                _predict([_read(sample, work)], model)  # it dies here, or the batch is tried
        note(work.run, spec.name, [sample.key for sample in touched])
        yield [_read(sample, work) if sample in touched else _skipped(sample) for sample in batch]


def _skipped(sample: Sample) -> _Read:
    return _Read(sample=sample, sha256="", image_bytes=0, pixels=None, problem=kills_replica(sample.key))


def _record_before(spec: ShardSpec, work: ShardWork) -> ShardRecord | None:
    return read_record(work.run, spec.name) if work.retry_failed and is_committed(work.run, spec.name) else None


def _settled(spec: ShardSpec, work: ShardWork, record: ShardRecord) -> dict[str, tuple[CandidateRow, dict[str, bytes]]]:
    """Row and tar members of the images in batches of which none failed.

    Whole batches, since the number of images in a batch moves the last bits of all of them.
    """
    rows = {row.key: row for row in read_rows(work.run, record)}
    members = read_members(work.run, record)
    settled: dict[str, tuple[CandidateRow, dict[str, bytes]]] = {}
    for start in range(0, len(spec.samples), work.batch_images):
        batch = [sample.key for sample in spec.samples[start : start + work.batch_images]]
        if all(rows[key].status == "done" for key in batch):
            settled |= {key: (rows[key], members[key]) for key in batch}
    return settled


def _read(sample: Sample, work: ShardWork) -> _Read:
    content = b""
    try:
        content = read_bytes(sample, max_bytes=work.max_image_bytes)
        pixels = decode(sample, content, max_pixels=work.max_image_pixels)
        problem = None
    except SampleError as error:
        pixels, problem = None, error
    sha256 = hashlib.sha256(content).hexdigest() if content else ""
    return _Read(sample=sample, sha256=sha256, image_bytes=len(content), pixels=pixels, problem=problem)


def _predict(batch: Sequence[_Read], model: SaliencyModel) -> list[Prediction | SampleError]:
    """One outcome per image of the batch, in order."""
    outcomes: dict[str, Prediction | SampleError] = {
        read.sample.key: read.problem for read in batch if read.problem is not None
    }
    outcomes |= predict_batch(model, {read.sample.key: read.pixels for read in batch if read.pixels is not None})
    return [outcomes[read.sample.key] for read in batch]


def _row(read: _Read, outcome: Prediction | SampleError) -> CandidateRow:
    failed = isinstance(outcome, SampleError)
    return CandidateRow(
        key=read.sample.key,
        status="failed" if failed else "done",
        reason=outcome.reason if isinstance(outcome, SampleError) else "",
        detail=outcome.detail if isinstance(outcome, SampleError) else "",
        image_sha256=read.sha256,
        image_bytes=read.image_bytes,
        members=0 if isinstance(outcome, SampleError) else len(outcome.members),
        fewer_at_once=0 if isinstance(outcome, SampleError) else outcome.fewer_at_once,
        scores={} if isinstance(outcome, SampleError) else score(outcome),
    )
