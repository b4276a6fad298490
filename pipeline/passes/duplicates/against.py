"""Other collections that a run is compared with: their images, the digest of these, and their vectors.

RUN/passes/duplicates/against/   vectors of each collection, named by what they were made from and by their own content,
                                 so that images are described once, whatever is killed
"""

import hashlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int16, UInt8

from pipeline.collection.collection import Collection
from pipeline.collection.config import InputConfig
from pipeline.collection.frames import default_frame
from pipeline.collection.gather import read_collection
from pipeline.collection.usable import require_usable
from pipeline.errors import CollectionError, RunMismatchError, SampleError, StorageError, StorageUnavailableError
from pipeline.files import storage
from pipeline.files.parquet import read_parquet
from pipeline.passes.duplicates.embeddings import THUMBNAIL, VECTOR, describe
from pipeline.passes.duplicates.encoders import Encoder
from pipeline.passes.duplicates.overlay import SIDE_PX
from pipeline.passes.duplicates.vectors import stacked
from pipeline.records import Sample
from pipeline.replicas.batches import read_ahead
from pipeline.replicas.reading import ReadImage, pixel_count, read_image
from pipeline.replicas.shard_work import ShardWork

log = logging.getLogger(__name__)

FOLDER = "against"
_BATCH_IMAGES = 8
_MOST_NAMED = 5
_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A collection that the run is compared with."""

    name: str
    place: str
    samples: tuple[Sample, ...]

    @property
    def work(self) -> ShardWork:
        """How its images are read: with a run's default limits, and turned as viewers are asked to."""
        inputs = InputConfig(images=self.place)
        return ShardWork(
            run="",
            batch_images=_BATCH_IMAGES,
            max_image_bytes=inputs.max_image_bytes,
            max_image_pixels=inputs.max_image_pixels,
            default_frame=default_frame(inputs.orientation, annotated=False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedSet:
    """The images of a collection that could be read, and what is known of them."""

    names: tuple[str, ...]
    """NAME/file name, in the order of the keys."""
    vectors: Int16[np.ndarray, "n d"]
    thumbnails: Int16[np.ndarray, "n t"]
    broken: tuple[str, ...]
    """Names of the others."""


class PhotosOf:
    """The photos of a collection, which is listed at first use."""

    def __init__(self, name: str, place: str) -> None:
        self._name, self._place = name, place

    def photo(self, file_name: str) -> UInt8[np.ndarray, "h w 3"] | None:
        """The pixels of an image; None if it can't be read."""
        sample = self._samples.get(file_name)
        return read_image(sample, self._found.work).pixels if sample else None

    @cached_property
    def _found(self) -> Against:
        return find_against(self._name, self._place)

    @cached_property
    def _samples(self) -> dict[str, Sample]:
        return {sample.file_name: sample for sample in self._found.samples}


def find_against(name: str, place: str) -> Against:
    """Find the images of a collection.

    Raises: CollectionError: there is no such place, it has no image, or none that can be read.
    """
    inputs = InputConfig(images=place)
    try:
        found: Collection = read_collection(inputs)
        require_usable(found, inputs)
    except CollectionError as error:
        raise CollectionError(f"--against {name}: {error}") from error
    return Against(name=name, place=place, samples=found.samples)


def state_of(against: Against) -> str:
    """How many images it has, and the SHA-256 of their names and contents; every file is read for it.

    Images that can't be read are in it by the reason, so that it differs once they are there.
    """
    digest = hashlib.sha256()
    for sample, sha256 in _contents(against):
        digest.update(f"{sample.file_name!r} {sha256}\n".encode())
    return f"{len(against.samples)} images, SHA-256 {digest.hexdigest()}"


def _contents(against: Against) -> Iterator[tuple[Sample, str]]:
    """Each image with the SHA-256 of its file, or the reason why it can't be read."""
    from pipeline.collection.stores import read_bytes

    def sha256_of(sample: Sample) -> tuple[Sample, str]:
        try:
            content = read_bytes(sample, max_bytes=against.work.max_image_bytes)
        except SampleError as error:
            return sample, error.reason
        return sample, hashlib.sha256(content).hexdigest()

    for batch in read_ahead(against.samples, sha256_of, 64):
        yield from batch


def described(against: Against, folder: str, state: str, encoder: Encoder, made_with: str, length: int) -> DescribedSet:
    """Vectors of the collection's images; those that were stored before are not made again.

    Args:   folder: of the pass.
            state: what `state_of` told when the pass was begun.
            made_with: tells the encoder and its options.
            length: of a vector.
    Raises: RunMismatchError: images have changed since the pass was begun.
    """
    schema = pa.schema(
        [
            ("name", pa.string()),
            ("problem", pa.string()),
            (VECTOR, pa.binary(2 * length)),
            (THUMBNAIL, pa.binary(2 * SIDE_PX**2)),
        ]
    )
    key = hashlib.sha256(f"{state}\n{made_with}".encode()).hexdigest()[:_DIGITS]
    table = _stored(storage.join(folder, FOLDER), f"{against.name}.{key}.", schema)
    if table is None:
        table = _table(against, state, encoder, schema)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        content = buffer.getvalue()
        name = f"{against.name}.{key}.{hashlib.sha256(content).hexdigest()[:_DIGITS]}.parquet"
        storage.create(storage.join(folder, FOLDER, name), content)
    return _read(against.name, table, length)


def _stored(folder: str, begins: str, schema: pa.Schema) -> pa.Table | None:
    """The table that an earlier session stored; None if there is none that is whole."""
    for name in storage.list_names(folder):
        if name.startswith(begins):
            try:
                content = storage.read(storage.join(folder, name))
                if hashlib.sha256(content).hexdigest().startswith(name.removeprefix(begins).partition(".")[0]):
                    return read_parquet(content, schema)
            except StorageUnavailableError:
                raise
            except (StorageError, pa.ArrowInvalid) as error:
                log.warning("%s can't be read and is made again: %s", storage.join(folder, name), error)
    return None


def _table(against: Against, state: str, encoder: Encoder, schema: pa.Schema) -> pa.Table:
    log.info("%s: describing %d images", against.name, len(against.samples))
    digest, rows, work = hashlib.sha256(), list[dict[str, object]](), against.work

    def read(sample: Sample) -> ReadImage:
        return read_image(sample, work)

    for batch in read_ahead(against.samples, read, _BATCH_IMAGES, pixel_count):
        images = [image.pixels for image in batch if image.pixels is not None]
        found = iter(describe(images, encoder) if images else [])
        for image in batch:
            problem = image.problem.reason if image.problem else ""
            digest.update(f"{image.sample.file_name!r} {image.sha256 or problem}\n".encode())
            one = None if image.problem else next(found)
            rows.append(
                {
                    "name": image.sample.file_name,
                    "problem": problem,
                    VECTOR: one.vector if one else None,
                    THUMBNAIL: one.thumbnail if one else None,
                }
            )
    if not state.endswith(digest.hexdigest()):
        raise RunMismatchError(
            f"--against {against.name}: images have changed since the pass was begun: {state} then, SHA-256 "
            f"{digest.hexdigest()} now. Put the old ones back, or remove the pass and run it again"
        )
    return pa.Table.from_pylist(rows, schema=schema)


def _read(name: str, table: pa.Table, length: int) -> DescribedSet:
    rows = table.to_pylist()
    broken = tuple(f"{row['name']} ({row['problem']})" for row in rows if row[VECTOR] is None)
    if broken:
        more = f" and {len(broken) - _MOST_NAMED} more" if len(broken) > _MOST_NAMED else ""
        named = ", ".join(broken[:_MOST_NAMED])
        log.warning("%s: %d of %d images can't be read: %s%s", name, len(broken), len(rows), named, more)
    found = [row for row in rows if row[VECTOR] is not None]
    return DescribedSet(
        names=tuple(f"{name}/{row['name']}" for row in found),
        vectors=stacked([row[VECTOR] for row in found], length),
        thumbnails=stacked([row[THUMBNAIL] for row in found], SIDE_PX**2),
        broken=broken,
    )
