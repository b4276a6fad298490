"""The images of a shard on their way to the model: read ahead of it, or with care, one batch after the other."""

import hashlib
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import UInt8

from pipeline.collection.images import Decoded, decode_sample
from pipeline.collection.stores import read_bytes
from pipeline.errors import SampleError
from pipeline.records import Sample, ShardSpec
from pipeline.replicas.batches import read_batches_ahead
from pipeline.replicas.journal import note
from pipeline.replicas.probes import refuse_machine
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.suspects import Caution, kills_replica

MOST_BATCH_PIXELS = 100_000_000
"""Pixels of a batch. Until it is encoded, a pixel takes 3 bytes as an image and 8 as its maps: 1.1 GB for this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadImage:
    """An image that was read: `decoded`, or the `problem` that it has instead."""

    sample: Sample
    sha256: str
    image_bytes: int
    decoded: Decoded | None
    problem: SampleError | None

    @property
    def pixels(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """The pixels to predict, if it could be decoded."""
        return None if self.decoded is None else self.decoded.pixels


def read_image(sample: Sample, work: ShardWork) -> ReadImage:
    """Read and decode an image; what is wrong with it is its `problem`.

    Raises: NodeUnfitError: what is wrong is this machine. OSError: as `stores.read_bytes`.
    """
    content = b""
    try:
        content = read_bytes(sample, max_bytes=work.max_image_bytes)
        decoded = decode_sample(sample, content, max_pixels=work.max_image_pixels, default=work.default_frame)
        problem = None
    except SampleError as error:
        refuse_machine(error, sample, work.probes)
        decoded, problem = None, error
    sha256 = hashlib.sha256(content).hexdigest() if content else ""
    return ReadImage(sample=sample, sha256=sha256, image_bytes=len(content), decoded=decoded, problem=problem)


def pixel_count(read: ReadImage) -> int:
    """Height x width; 0 for an image that could not be decoded."""
    return 0 if read.pixels is None else read.pixels.shape[0] * read.pixels.shape[1]


def cut_into_batches(samples: Sequence[Sample], batch_images: int) -> list[Sequence[Sample]]:
    """Cut by position and by the annotated sizes, so that whatever fails, no image gets into another batch.

    A batch has at most `MOST_BATCH_PIXELS`; a larger image is alone. Always cut a whole shard: without some of its
    batches, others would come together.
    """
    batches: list[Sequence[Sample]] = []
    start = pixels = 0
    for place, sample in enumerate(samples):
        is_full = place - start == batch_images or pixels + annotated_px(sample) > MOST_BATCH_PIXELS
        if place > start and is_full:
            batches.append(samples[start:place])
            start, pixels = place, 0
        pixels += annotated_px(sample)
    if start < len(samples):
        batches.append(samples[start:])
    return batches


def annotated_px(sample: Sample) -> int:
    """Height x width as annotated."""
    return sample.width * sample.height


def batches_ahead(
    todo: Sequence[Sequence[Sample]], read: Callable[[Sample], ReadImage], reading_slot: threading.Lock
) -> Generator[list[ReadImage]]:
    """The batches, read ahead of the model. The slot is given back once the last of them is read."""
    with closing(read_batches_ahead(todo, read, pixel_count)) as batches:
        with reading_slot:
            yield from islice(batches, max(0, len(todo) - 1))
            last = next(batches, None)
        if last is not None:
            yield last


def batches_with_care(
    spec: ShardSpec,
    todo: Sequence[Sequence[Sample]],
    run: str,
    caution: Caution,
    read: Callable[[Sample], ReadImage],
    try_alone: Callable[[ReadImage], object],
) -> Generator[list[ReadImage]]:
    """One batch after the other, noted before it is read; it counts as in work until the caller asks for the next one.

    Args: run: the folder that has the journal.
          try_alone: predicts one image; called for suspects before their batch. The process dies there, or goes on.
    """
    for batch in todo:
        touched = [sample for sample in batch if sample.key not in caution.skipped]
        for sample in touched:
            if sample.key in caution.alone:
                note(run, spec.name, [sample.key])
                try_alone(read(sample))
        note(run, spec.name, [sample.key for sample in touched])
        yield [read(sample) if sample in touched else _skipped(sample) for sample in batch]


def _skipped(sample: Sample) -> ReadImage:
    return ReadImage(sample=sample, sha256="", image_bytes=0, decoded=None, problem=kills_replica(sample.key))
