"""One shard, from its spec to its commit record: a plain function that any process can call.

A process may have two shards in work at once. One of them reads and one predicts at a time, so the model never waits
for a disk, and each shard gets the same bytes as if it were alone:

    time -->
    shard 42   read ahead     [==========]
               predict           [===================]
               encode behind        ====================
               commit                                  ====
    shard 43   read ahead                [===========]
               predict                               [===================]
               encode behind                            ====================
               commit                                                      ====

`[` takes a slot and `]` gives it back. The reading slot is given back once the shard's last batch is read, for two
shards at once would hold twice as many decoded images; the predicting slot is held from the first batch at the model to
the last. Encoding and committing need no slot. A shard that has killed a replica is handled with care: it is alone in
its process, and each batch is read, predicted and encoded before the next one is touched.

What is wrong with one image becomes its row. What is wrong with the machine is raised, and nothing is committed.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

from model.prediction import Prediction, SaliencyModel
from pipeline.errors import SampleError
from pipeline.records import CandidateRow, ShardRecord, ShardSpec
from pipeline.replicas.batches import BATCHES_BEHIND, finish_behind, predict_batch
from pipeline.replicas.journal import forget
from pipeline.replicas.reading import ReadImage, batches_ahead, batches_with_care, cut_into_batches
from pipeline.replicas.setup import ShardWork
from pipeline.replicas.suspects import Caution
from pipeline.runs.candidates import (
    commit_shard,
    encode_members,
    is_committed,
    read_members,
    read_rows,
    read_shard_record,
)
from pipeline.selection.scores import score

Computed = tuple[CandidateRow, dict[str, bytes]]
"""What is stored of an image: its row, and the members of its tar; a failed image has no members."""
Outcome = tuple[ReadImage, Prediction | SampleError]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """The record of a committed shard, and its rows."""

    record: ShardRecord
    rows: tuple[CandidateRow, ...]
    computed: int
    """Images that were read and predicted now; the other rows were kept from an earlier session."""
    seconds: float
    """From taking the predicting slot to the record; neither loading the model nor waiting for other shards counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all calls of `process_shard` in one process share."""

    reading_slot: threading.Lock = field(default_factory=threading.Lock)
    """Held by the shard that reads."""
    predicting_slot: threading.Lock = field(default_factory=threading.Lock)
    """Held by the shard that is at the model."""
    on_image: Callable[[str], None] = lambda _: None
    """Called with the key of each image once its row is settled."""


def process_shard(
    spec: ShardSpec,
    model: SaliencyModel,
    work: ShardWork,
    caution: Caution = Caution(),  # noqa: B008 (frozen)
    shared: Shared | None = None,
) -> ShardResult:
    """Predict, score and commit the images of one shard.

    Args:   caution: for a shard that has killed a replica; no other shard may be in work in this process then.
            shared: with other calls in this process; None: there are no other calls.
    Raises: OSError: reading or writing failed for a reason that may pass; nothing is committed.
    """
    shared = shared or Shared()
    has_record = work.retry_failed and is_committed(work.run, spec.name)
    before = read_shard_record(work.run, spec.name) if has_record else None
    computed = _kept(spec, work, before) if before else {}
    batches_of_shard = cut_into_batches(spec.samples, work.batch_images)
    todo = [batch for batch in batches_of_shard if any(sample.key not in computed for sample in batch)]
    if caution.noted:
        batches = batches_with_care(spec, todo, work, caution, lambda read: _predict([read], model))
    else:
        batches = batches_ahead(todo, work, shared.reading_slot)
    at_model = _AtModel(model, shared.predicting_slot)
    with closing(batches), closing(at_model.outcomes(batches)) as outcomes:
        most_behind = 0 if caution.noted else BATCHES_BEHIND
        with closing(finish_behind(outcomes, _encode, most_behind)) as encoded:
            for row, members in chain.from_iterable(encoded):
                computed[row.key] = row, members
                shared.on_image(row.key)
    record, rows = _commit(spec, work, computed, before)
    if caution.noted:
        forget(work.run, spec.name)
    return ShardResult(
        record=record, rows=rows, computed=sum(map(len, todo)), seconds=time.perf_counter() - at_model.began
    )


class _AtModel:
    """A shard's stretch at the model: until its last batch is predicted, no other shard's images are."""

    def __init__(self, model: SaliencyModel, predicting_slot: threading.Lock) -> None:
        self._model = model
        self._predicting_slot = predicting_slot
        self.began = time.perf_counter()

    def outcomes(self, batches: Iterator[list[ReadImage]]) -> Generator[list[Outcome]]:
        """Each image with its outcome, in order. The first batch is read before the slot is taken."""
        batch = next(batches, None)
        with self._predicting_slot:
            self.began = time.perf_counter()
            while batch is not None:
                yield list(zip(batch, _predict(batch, self._model), strict=True))
                batch = next(batches, None)


def _kept(spec: ShardSpec, work: ShardWork, record: ShardRecord) -> dict[str, Computed]:
    """Row and tar members of all images in batches without a failed image.

    Whole batches, since the number of images in a batch changes the last bits of all of them.
    """
    rows = {row.key: row for row in read_rows(work.run, record)}
    members = read_members(work.run, record)
    kept: dict[str, Computed] = {}
    for samples in cut_into_batches(spec.samples, work.batch_images):
        batch = [sample.key for sample in samples]
        if all(rows[key].status == "done" for key in batch):
            kept |= {key: (rows[key], members[key]) for key in batch}
    return kept


def _predict(batch: Sequence[ReadImage], model: SaliencyModel) -> list[Prediction | SampleError]:
    """One outcome per image of the batch, in order."""
    outcomes: dict[str, Prediction | SampleError] = {
        read.sample.key: read.problem for read in batch if read.problem is not None
    }
    outcomes |= predict_batch(model, {read.sample.key: read.pixels for read in batch if read.pixels is not None})
    return [outcomes[read.sample.key] for read in batch]


def _encode(batch: Sequence[Outcome]) -> list[Computed]:
    computed = []
    for read, outcome in batch:
        row = _row(read, outcome)
        computed.append((row, encode_members(row, outcome) if isinstance(outcome, Prediction) else {}))
    return computed


def _row(read: ReadImage, outcome: Prediction | SampleError) -> CandidateRow:
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
        frame="" if failed or read.decoded is None else read.decoded.frame,
        exif_orientation=0 if failed or read.decoded is None else read.decoded.exif_orientation,
    )


def _commit(
    spec: ShardSpec, work: ShardWork, computed: dict[str, Computed], before: ShardRecord | None
) -> tuple[ShardRecord, tuple[CandidateRow, ...]]:
    """Commit rows and maps, or put them in the place of those that were committed before."""
    rows = tuple(computed[sample.key][0] for sample in spec.samples)
    members = [(row.key, computed[row.key][1]) for row in rows if row.status == "done"]
    return commit_shard(work.run, spec.name, rows, members, made_with=work.made_with, before=before), rows
