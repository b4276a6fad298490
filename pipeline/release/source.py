"""What releases are made from: a complete run, and the portions of it that tasks read."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.collection.collection import NOBODY, License, Origin, license_of
from pipeline.collection.instances import Instances
from pipeline.collection.stores import read_bytes
from pipeline.config import RunConfig
from pipeline.errors import SampleError, StorageError
from pipeline.passes.folder import PassValues, StatedPass, columns_of
from pipeline.records import CandidateRow, Sample, ShardRecord, ShardSpec
from pipeline.runs.binding import Bound, binding
from pipeline.runs.candidates import read_members
from pipeline.selection.columns import scores_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSource:
    """A complete run and everything known about its images, read once, so that tasks and driver see the same state."""

    run: str
    specs: Sequence[ShardSpec]
    records: Mapping[str, ShardRecord]
    """Shard → its record."""
    rows: Mapping[str, CandidateRow]
    """Key → row, for every image."""
    licenses: Mapping[int, License]
    origins: Mapping[str, Origin]
    instances: Instances
    passes: tuple[PassValues, ...] = ()
    """The score passes whose columns the release has."""
    collection_name: str = ""
    collection_url: str = ""
    """What the annotations say of the collection."""

    @property
    def stated_passes(self) -> tuple[StatedPass, ...]:
        """The passes without their values."""
        return tuple(found.stated for found in self.passes)

    def added(self, key: str) -> dict[str, float | str | None]:
        """What the passes have found out about an image: a value for each of their columns but vectors, or None."""
        values: dict[str, float | str | None] = {}
        for found in self.passes:
            row = found.rows.get(key)
            for column in columns_of([found.stated]):
                value = row.values.get(column.name) if row else None
                values[column.name] = None if isinstance(value, bytes) else value
        return values

    def added_scores(self, key: str) -> dict[str, float | None]:
        """Those of these values that are scores."""
        values = self.added(key)
        scores = [score.name for score in scores_of(columns_of(self.stated_passes))]
        return {name: value for name in scores if not isinstance(value := values[name], str)}

    def images(self) -> Iterator[tuple[Sample, CandidateRow]]:
        """Iterate over every image of the run, shard after shard."""
        for spec in self.specs:
            for sample in spec.samples:
                yield sample, self.rows[sample.key]

    def license_of(self, sample: Sample) -> License:
        """The licence of an image; name and URL are empty if the collection does not give them."""
        return license_of(sample, self.licenses)

    def origin_of(self, sample: Sample) -> Origin:
        """Author and source of an image; empty if the collection does not give them."""
        return self.origins.get(sample.key, NOBODY)


def facts_of(sample: Sample, row: CandidateRow, licence: License) -> dict[str, str | int]:
    """What both manifest and `KEY.json` say about an image, besides its scores."""
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


def bound_shards(source: ReleaseSource, maps: Mapping[str, str]) -> list[dict[str, str | int]]:
    """What `release.json` says about the shards: the number of images, and the binding of those that were predicted.

    Args:   maps: key → digest of the stored maps, of every predicted image.
    Raises: StorageError: a binding is not the one in the shard's record.
    """
    shards: list[dict[str, str | int]] = []
    for spec in source.specs:
        record, rows = source.records[spec.name], [source.rows[sample.key] for sample in spec.samples]
        found = binding(
            Bound(
                key=row.key,
                image_sha256=row.image_sha256,
                maps_sha256=maps[row.key],
                members=row.members,
                scores=row.scores,
            )
            for row in rows
            if row.members
        )
        if record.binding not in ("", found):
            raise StorageError(
                f"candidate shard {spec.name}: its maps, images or scores are not those that its record binds to each "
                f"other. Run sod run verify {source.run} --repair to make it again"
            )
        shards.append({"shard": spec.name, "images": len(rows), "binding": found})
    return shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """One predicted image."""

    sample: Sample
    row: CandidateRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some images of one candidate shard; small enough to send to a worker."""

    run: str
    record: ShardRecord
    images: tuple[Picked, ...]


def portions(source: ReleaseSource, groups: Sequence[Sequence[str]]) -> list[tuple[Portion, ...]]:
    """Find the predicted images of each group of keys, shard after shard; a key is in at most one group."""
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
    """Read each image's stored members (extension → content), holding one shard in memory at a time.

    Raises: StorageError: a shard does not match its record, or lacks an image.
    """
    for portion in found:
        members = read_members(portion.run, portion.record)
        for image in portion.images:
            if image.sample.key not in members:
                raise StorageError(
                    f"key {image.sample.key}: candidate shard {portion.record.shard} has no maps of this image, "
                    "although its record says that it was predicted. Run sod run verify --repair to make it again"
                )
            yield image, members[image.sample.key]


def original_bytes(image: Picked, max_bytes: int) -> bytes:
    """Read the image file that was predicted, byte for byte.

    Raises: StorageError: it has changed since, or can no longer be read.
    """
    sample, row = image.sample, image.row
    try:
        content = read_bytes(sample, max_bytes=max_bytes)
    except SampleError as error:
        raise StorageError(
            f"key {sample.key}: its image was predicted but can no longer be read: {error.detail}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != row.image_sha256:
        raise StorageError(
            f"key {sample.key}: {sample.file_name} has changed since it was predicted: its SHA-256 was "
            f"{row.image_sha256} then, {found} now. Put the old file back, or make a new run"
        )
    return content


def with_collection(config: RunConfig, name: str, url: str) -> RunConfig:
    """Name the collection as its annotations do, unless the publisher names it; what is no name or address is left."""
    release = config.release
    if release.collection_name or release.collection_url:
        return config
    with contextlib.suppress(ValueError):
        release = replace(release, collection_name=name)
    with contextlib.suppress(ValueError):
        release = replace(release, collection_url=url)
    return replace(config, release=release)
