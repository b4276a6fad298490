"""One shard, from its spec to its commit record: a plain function that any process can call.

Threads read and decode ahead of the model, and score and encode behind it. Of several calls in one process one reads
and one predicts at a time, while others commit: so the model never waits for a disk, and a call does the same as if it
were alone. What is wrong with one image becomes its row; what is wrong with the machine is raised, and the shard is not
committed.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import numpy as np
from jaxtyping import UInt8

from model.config import EnsembleConfig, ModelConfig
from model.loading import load_model
from model.prediction import Enough, Prediction, SaliencyModel
from pipeline.collection.images import decode, read_bytes
from pipeline.errors import ConfigError, SampleError
from pipeline.records import CandidateRow, Sample, ShardRecord, ShardSpec
from pipeline.replicas.batches import BATCHES_BEHIND, finish_behind, predict_batch, read_ahead
from pipeline.replicas.suspects import Caution, forget, kills_replica, note
from pipeline.replicas.usage import TimedModel
from pipeline.runs.candidates import (
    commit_shard,
    encode_members,
    is_committed,
    read_members,
    read_rows,
    read_shard_record,
    replace_shard,
)
from pipeline.runs.fingerprint import settle_device
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.scores import score
from pipeline.selection.stopping_rule import stopping_rule

Computed = tuple[CandidateRow, dict[str, bytes]]
"""What is stored of an image: its row, and the members of its tar; none of a failed one."""


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
    policy: PolicyConfig
    """Whose bounds decide when an image of an adaptive ensemble has enough members."""
    work: ShardWork

    @property
    def enough(self) -> Enough | None:
        """The rule by which images stop early, if they do."""
        return stopping_rule(self.ensemble, self.policy)

    def load(self) -> TimedModel:
        """The model, on the kind of device that the run was begun on.

        Raises: ConfigError: there is none, or not as asked for. RunMismatchError: the device is of another kind.
        """
        try:
            model = load_model(self.model, self.ensemble, self.enough)
        except ValueError as error:
            raise ConfigError(f"--model {self.model.model}: {error}") from error
        settle_device(self.work.run, model.device_kind)
        return TimedModel(model)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """The record of a committed shard, and its rows."""

    record: ShardRecord
    rows: tuple[CandidateRow, ...]
    computed: int
    """Images that were read and predicted now; the others' rows were there."""
    seconds: float
    """From its turn at the model to its record; without loading the model, and without waiting for other shards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What the calls of `process_shard` in one process share."""

    reading: threading.Lock = field(default_factory=threading.Lock)
    """Whose turn it is to read: two shards at once would hold twice as many decoded images."""
    predicting: threading.Lock = field(default_factory=threading.Lock)
    """Whose turn it is at the model."""
    on_image: Callable[[str], None] = lambda _: None
    """Called with the key of each image whose row is settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """An image that was read: `pixels`, or the `problem` that kept them away."""

    sample: Sample
    sha256: str
    image_bytes: int
    pixels: UInt8[np.ndarray, "h w 3"] | None
    problem: SampleError | None


_Outcome = tuple[_Read, Prediction | SampleError]


def process_shard(
    spec: ShardSpec,
    model: SaliencyModel,
    work: ShardWork,
    caution: Caution = Caution(),  # noqa: B008 (frozen)
    beside: Beside | None = None,
) -> ShardResult:
    """Predict, score and commit the images of one shard.

    Args:   caution: of a shard that has killed a replica; no other shard may be in work in this process then.
            beside: what it shares with other calls in this process; left out, it is the only one.
    Raises: OSError: reading or writing failed for a reason that may pass; nothing is committed.
    """
    beside = beside or Beside()
    before = _record_before(spec, work)
    computed = {} if before is None else _settled(spec, work, before)
    # Batches are cut by position, so who failed never moves an image to another batch.
    todo = [sample for sample in spec.samples if sample.key not in computed]
    batches = _with_care(spec, todo, model, work, caution) if caution.noted else _ahead(todo, work, beside.reading)
    turn = _Turn(model, beside.predicting)
    with closing(batches), closing(turn.outcomes(batches)) as outcomes:
        most_behind = 0 if caution.noted else BATCHES_BEHIND
        with closing(finish_behind(outcomes, _encoded, most_behind)) as encoded:
            for row, members in chain.from_iterable(encoded):
                computed[row.key] = row, members
                beside.on_image(row.key)
    rows = tuple(computed[sample.key][0] for sample in spec.samples)
    members_of = [(row.key, computed[row.key][1]) for row in rows if row.status == "done"]
    if before is None:
        record = commit_shard(work.run, spec.name, rows, members_of)
    else:
        record = replace_shard(work.run, before, rows, members_of)
    if caution.noted:
        forget(work.run, spec.name)
    return ShardResult(record=record, rows=rows, computed=len(todo), seconds=time.perf_counter() - turn.began)


class _Turn:
    """A shard's turn at the model: nobody else's images are predicted meanwhile."""

    def __init__(self, model: SaliencyModel, predicting: threading.Lock) -> None:
        self._model = model
        self._predicting = predicting
        self.began = time.perf_counter()

    def outcomes(self, batches: Iterator[list[_Read]]) -> Generator[list[_Outcome]]:
        """What the model says of each image, in order. The first batch is read before the turn begins, which ends with
        the last one."""
        batch = next(batches, None)
        with self._predicting:
            self.began = time.perf_counter()
            while batch is not None:
                yield list(zip(batch, _predict(batch, self._model), strict=True))
                batch = next(batches, None)


def _ahead(todo: Sequence[Sample], work: ShardWork, reading: threading.Lock) -> Generator[list[_Read]]:
    """Batches that are read ahead of the model; the next shard begins to read when the last of them goes there."""
    batches_left = -(-len(todo) // work.batch_images)
    with ExitStack() as turn, closing(read_ahead(todo, partial(_read, work=work), work.batch_images)) as batches:
        turn.enter_context(reading)
        for batch in batches:
            batches_left -= 1
            if not batches_left:
                turn.close()
            yield batch


def _with_care(
    spec: ShardSpec, todo: Sequence[Sample], model: SaliencyModel, work: ShardWork, caution: Caution
) -> Generator[list[_Read]]:
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
    return read_shard_record(work.run, spec.name) if work.retry_failed and is_committed(work.run, spec.name) else None


def _settled(spec: ShardSpec, work: ShardWork, record: ShardRecord) -> dict[str, Computed]:
    """Row and tar members of the images in batches of which none failed.

    Whole batches, since the number of images in a batch moves the last bits of all of them.
    """
    rows = {row.key: row for row in read_rows(work.run, record)}
    members = read_members(work.run, record)
    settled: dict[str, Computed] = {}
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


def _encoded(batch: Sequence[_Outcome]) -> list[Computed]:
    computed = []
    for read, outcome in batch:
        row = _row(read, outcome)
        computed.append((row, encode_members(row, outcome) if isinstance(outcome, Prediction) else {}))
    return computed


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
