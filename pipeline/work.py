"""One shard, from its spec to its commit record: a plain function that any process can call.

Bytes are read and decoded ahead in threads, so that the model never waits for a disk. What is wrong with one image
becomes its row; what is wrong with the machine is raised, and the shard is not committed.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from model.config import EnsembleConfig, ModelConfig
from model.prediction import ModelOutputError, Prediction, SaliencyModel
from pipeline.candidates import commit_shard, encode_members
from pipeline.errors import SampleError
from pipeline.images import decode, read_bytes
from pipeline.records import CandidateRow, Sample, ShardRecord, ShardSpec
from pipeline.scores import score

DECODE_THREADS = 2
BATCHES_AHEAD = 2
"""Batches that are decoded while one is predicted: enough to hide a disk, little enough to stay small in memory."""


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
    for batch in _read_ahead(spec.samples, work):
        for read, outcome in zip(batch, _predict(batch, model), strict=True):
            row = _row(read, outcome)
            rows.append(row)
            if isinstance(outcome, Prediction):
                members.append((row.key, encode_members(row, outcome)))
            on_image(row.key)
    record = commit_shard(work.run, spec.name, rows, members)
    return ShardResult(record=record, rows=tuple(rows))


def _read_ahead(samples: Sequence[Sample], work: ShardWork) -> Iterator[list[_Read]]:
    """Batches of read images. Batches are cut by position, so who failed never moves an image to another batch."""
    batches = [samples[i : i + work.batch_images] for i in range(0, len(samples), work.batch_images)]
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        waiting: list[list[Future[_Read]]] = []
        try:
            for batch in batches:
                waiting.append([pool.submit(_read, sample, work) for sample in batch])
                if len(waiting) > BATCHES_AHEAD:
                    yield [future.result() for future in waiting.pop(0)]
            for futures in waiting:
                yield [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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
    usable = {read.sample.key: read.pixels for read in batch if read.pixels is not None}
    try:
        predictions = model.predict(list(usable.values()), list(usable)) if usable else []
        outcomes |= zip(usable, predictions, strict=True)
    except ModelOutputError:
        outcomes |= {key: _predict_alone(key, pixels, model) for key, pixels in usable.items()}
    return [outcomes[read.sample.key] for read in batch]


def _predict_alone(key: str, pixels: UInt8[np.ndarray, "h w 3"], model: SaliencyModel) -> Prediction | SampleError:
    """After a batch broke: find out which image it was, and save the others."""
    try:
        return model.predict([pixels], [key])[0]
    except ModelOutputError as error:
        return SampleError("model_output", f"key {key}: {error}")


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
