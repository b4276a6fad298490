"""The timeline of one shard, from its spec to its commit record, whatever is done with its images.

A process may have two shards in work at once. One of them reads and one is at the model at a time, so the model never
waits for a disk, and each shard gets the same bytes as if it were alone:

    time -->
    shard 42   read ahead     [==========]
               at the model      [===================]
               encode behind        ====================
               commit                                  ====
    shard 43   read ahead                [===========]
               at the model                          [===================]
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
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, Protocol, TypeVar

from pipeline.records import CandidateRow, PassRow, Sample, ShardRecord, ShardSpec
from pipeline.replicas.batches import BATCHES_BEHIND, finish_behind
from pipeline.replicas.journal import forget
from pipeline.replicas.reading import ReadImage, batches_ahead, batches_with_care, cut_into_batches
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.suspects import Caution

Row = CandidateRow | PassRow
Finding = TypeVar("Finding")
"""What the model finds in an image, or why it finds nothing."""
Stored = TypeVar("Stored")
"""What is stored of an image: its row, and perhaps files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """The record of a committed shard, and its rows."""

    record: ShardRecord
    rows: tuple[Row, ...]
    computed: int
    """Images that were read and computed now; the other rows were kept from an earlier session."""
    seconds: float
    """From taking the predicting slot to the record; neither loading the model nor waiting for other shards counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all shards in work in one process share."""

    reading_slot: threading.Lock = field(default_factory=threading.Lock)
    """Held by the shard that reads."""
    predicting_slot: threading.Lock = field(default_factory=threading.Lock)
    """Held by the shard that is at the model."""
    on_image: Callable[[str], None] = lambda _: None
    """Called with the key of each image once its row is settled."""


class Errand(Protocol[Finding, Stored]):
    """What is done with the images of one shard."""

    def kept(self) -> dict[str, Stored]:
        """Key → what an earlier session has stored, for images that need no work."""

    def read(self, sample: Sample) -> ReadImage:
        """Read an image, in a thread ahead of the model."""

    def find(self, batch: Sequence[ReadImage]) -> list[Finding]:
        """Ask the model: one finding per image of the batch, in order."""

    def encode(self, read: ReadImage, finding: Finding) -> Stored:
        """Make what is stored of an image, in a thread behind the model."""

    def commit(self, computed: Mapping[str, Stored]) -> tuple[ShardRecord, tuple[Row, ...]]:
        """Commit the shard. Args: computed: key → what is stored, for all its images."""


def carry_out(
    spec: ShardSpec,
    errand: Errand[Finding, Stored],
    work: ShardWork,
    caution: Caution = Caution(),  # noqa: B008 (frozen)
    shared: Shared | None = None,
) -> ShardResult:
    """Do an errand for the images of one shard, and commit it.

    Args:   caution: for a shard that has killed a replica; no other shard may be in work in this process then.
            shared: with other calls in this process; None: there are no other calls.
    Raises: OSError: reading or writing failed for a reason that may pass; nothing is committed.
    """
    shared = shared or Shared()
    computed = errand.kept()
    batches_of_shard = cut_into_batches(spec.samples, work.batch_images)
    todo = [batch for batch in batches_of_shard if any(sample.key not in computed for sample in batch)]
    if caution.noted:
        batches = batches_with_care(spec, todo, work.run, caution, errand.read, lambda read: errand.find([read]))
    else:
        batches = batches_ahead(todo, errand.read, shared.reading_slot)
    at_model = _AtModel(errand, shared.predicting_slot)

    def encode(batch: list[tuple[ReadImage, Finding]]) -> list[tuple[str, Stored]]:
        return [(read.sample.key, errand.encode(read, finding)) for read, finding in batch]

    with closing(batches), closing(at_model.outcomes(batches)) as outcomes:
        most_behind = 0 if caution.noted else BATCHES_BEHIND
        with closing(finish_behind(outcomes, encode, most_behind)) as encoded:
            for key, stored in chain.from_iterable(encoded):
                computed[key] = stored
                shared.on_image(key)
    record, rows = errand.commit(computed)
    if caution.noted:
        forget(work.run, spec.name)
    return ShardResult(
        record=record, rows=rows, computed=sum(map(len, todo)), seconds=time.perf_counter() - at_model.began
    )


class _AtModel(Generic[Finding, Stored]):
    """A shard's stretch at the model: until its last batch is through, no other shard's images are."""

    def __init__(self, errand: Errand[Finding, Stored], predicting_slot: threading.Lock) -> None:
        self._errand = errand
        self._predicting_slot = predicting_slot
        self.began = time.perf_counter()

    def outcomes(self, batches: Iterator[list[ReadImage]]) -> Generator[list[tuple[ReadImage, Finding]]]:
        """Each image with its finding, in order. The first batch is read before the slot is taken."""
        batch = next(batches, None)
        with self._predicting_slot:
            self.began = time.perf_counter()
            while batch is not None:
                yield list(zip(batch, self._errand.find(batch), strict=True))
                batch = next(batches, None)
