"""One shard, from its spec to its commit record: a plain function that any process can call.

Bytes are read and decoded ahead in threads, so that the model never waits for a disk. What is wrong with one image
becomes its row; what is wrong with the machine is raised, and the shard is not committed.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from model.config import EnsembleConfig, ModelConfig
from model.prediction import Prediction, SaliencyModel
from pipeline.batches import predict_batch, read_ahead
from pipeline.candidates import commit_shard, encode_members
from pipeline.errors import SampleError
from pipeline.images import decode, read_bytes
from pipeline.records import CandidateRow, Sample, ShardRecord, ShardSpec
from pipeline.scores import score


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """What `process_shard` needs beside spec and model; the same for all shards of a run."""

    run: str
    """The run's folder."""
    batch_images: int
    max_image_bytes: int
    max_image_pixels: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """An image that was read: `pixels`, or the `problem` that kept them away."""

    sample: Sample
    sha256: str
    image_bytes: int
    pixels: UInt8[np.ndarray, "h w 3"] | None
    problem: SampleError | None


def process_shard(
    spec: ShardSpec, model: SaliencyModel, work: ShardWork, on_image: Callable[[str], None] = lambda _: None
) -> ShardResult:
    """Predict, score and commit the images of one shard.

    Args:   on_image: called with the key of each image whose row is settled.
    Raises: OSError: reading or writing failed for a reason that may pass; nothing is committed.
    """
    rows: list[CandidateRow] = []
    members: list[tuple[str, dict[str, bytes]]] = []
    # Batches are cut by position, so who failed never moves an image to another batch.
    for batch in read_ahead(spec.samples, lambda sample: _read(sample, work), work.batch_images):
        for read, outcome in zip(batch, _predict(batch, model), strict=True):
            row = _row(read, outcome)
            rows.append(row)
            if isinstance(outcome, Prediction):
                members.append((row.key, encode_members(row, outcome)))
            on_image(row.key)
    record = commit_shard(work.run, spec.name, rows, members)
    return ShardResult(record=record, rows=tuple(rows))


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
        scores={} if isinstance(outcome, SampleError) else score(outcome),
    )
