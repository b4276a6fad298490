"""What releases are made from: a complete run, and the parts of it that one task reads."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.collection.coco import License, Origin, license_of
from pipeline.collection.images import read_bytes
from pipeline.collection.instances import Instance
from pipeline.errors import SampleError, StorageError
from pipeline.records import CandidateRow, Sample, ShardRecord, ShardSpec
from pipeline.runs.candidates import read_members


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSource:
    """A complete run with all that is known of its images, read once: no task finds another state than its driver."""

    run: str
    specs: Sequence[ShardSpec]
    records: Mapping[str, ShardRecord]
    """By shard."""
    rows: Mapping[str, CandidateRow]
    """By key, of every image."""
    licenses: Mapping[int, License]
    origins: Mapping[str, Origin]
    instances: Mapping[str, tuple[Instance, ...]]
    """By key; only of images that the annotations have any of."""

    def images(self) -> Iterator[tuple[Sample, CandidateRow]]:
        """Every image of the run, in the order of the shards."""
        for spec in self.specs:
            for sample in spec.samples:
                yield sample, self.rows[sample.key]

    def license_of(self, sample: Sample) -> License:
        """The licence of an image; without name and URL if the annotations do not describe it."""
        return license_of(sample, self.licenses)


def facts_of(sample: Sample, row: CandidateRow, licence: License) -> dict[str, str | int]:
    """What manifest and `KEY.json` both say of an image, beside its scores."""
    return {
        "key": sample.key,
        "image_id": sample.image_id,
        "file_name": sample.file_name,
        "width": sample.width,
        "height": sample.height,
        "license_id": sample.license_id,
        "license_name": licence.name,
        "license_url": licence.url,
        "image_sha256": row.image_sha256,
        "members": row.members,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """One predicted image."""

    sample: Sample
    row: CandidateRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some images of one candidate shard; small enough to be sent to a worker."""

    run: str
    record: ShardRecord
    images: tuple[Picked, ...]


def portions(source: ReleaseSource, groups: Sequence[Sequence[str]]) -> list[tuple[Portion, ...]]:
    """The predicted images of each group of keys, in the order of the shards; a key is in one group at most."""
    group_of = {key: number for number, keys in enumerate(groups) for key in keys}
    found: list[list[Portion]] = [[] for _ in groups]
    for spec in source.specs:
        picked: dict[int, list[Picked]] = {}
        for sample in spec.samples:
            if sample.key in group_of:
                image = Picked(sample=sample, row=source.rows[sample.key])
                picked.setdefault(group_of[sample.key], []).append(image)
        for number, images in picked.items():
            found[number].append(Portion(run=source.run, record=source.records[spec.name], images=tuple(images)))
    return [tuple(of_group) for of_group in found]


def read_portions(found: Sequence[Portion]) -> Iterator[tuple[Picked, dict[str, bytes]]]:
    """Each image with its stored members (extension → content); one shard at a time is held in memory.

    Raises: StorageError: a shard is not what its record says, or lacks an image.
    """
    for portion in found:
        members = read_members(portion.run, portion.record)
        for image in portion.images:
            if image.sample.key not in members:
                raise StorageError(
                    f"key {image.sample.key}: candidate shard {portion.record.shard} says that it was predicted, and "
                    "has no maps of it; jobs/verify_run.py --repair has the shard made again"
                )
            yield image, members[image.sample.key]


def original_bytes(image: Picked, max_bytes: int) -> bytes:
    """The image file as it was predicted, byte by byte.

    Raises: StorageError: it has changed since, or can't be read any more.
    """
    sample, row = image.sample, image.row
    try:
        content = read_bytes(sample, max_bytes=max_bytes)
    except SampleError as error:
        raise StorageError(f"key {sample.key} was predicted, but its image is gone now: {error.detail}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != row.image_sha256:
        raise StorageError(
            f"key {sample.key}: {sample.file_name} has changed since it was predicted: its SHA-256 was "
            f"{row.image_sha256} then, {found} now. Put the old file back, or make a new run"
        )
    return content
