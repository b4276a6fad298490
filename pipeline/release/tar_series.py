"""The tars of a release: which image goes into which, planned before any is written, and the task that writes one.

The plan knows the size of every member, so the names, which say how many tars there are, need no renaming, and tars can
be written side by side.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.collection.coco import License
from pipeline.files import storage
from pipeline.files.maps import decode_png, encode_png, mask_of
from pipeline.files.tars import SampleTar, encode_json
from pipeline.records import CandidateRow, Sample, StoredFile
from pipeline.release.source import Picked, Portion, facts_of, original_bytes, read_portions

_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTar:
    """A tar before it is written."""

    name: str
    """Relative to the release."""
    split: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TarTask:
    """All that is needed to write one tar."""

    folder: str
    """Of the release."""
    name: str
    portions: tuple[Portion, ...]
    licenses: Mapping[str, License]
    """By key."""
    embed_images: bool
    max_image_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedTar:
    """A tar as it lies in the release."""

    record: StoredFile
    """Named relative to the release."""
    samples: int
    md5: str


def tar_member_bytes(content_bytes: int) -> int:
    """What a member of that size takes in a tar: a header, and the content in whole blocks."""
    return _BLOCK_BYTES * (1 + -(-content_bytes // _BLOCK_BYTES))


def plan_tars(split: str, sample_bytes: Iterable[tuple[str, int]], tar_bytes: int) -> list[PlannedTar]:
    """Cut a split's samples, in their order, into tars: one is closed by the sample with which it reaches `tar_bytes`.

    Args: sample_bytes: key, and what the sample takes in a tar.
    """
    groups: list[list[str]] = []
    filled = tar_bytes
    for key, size in sample_bytes:
        if filled >= tar_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(key)
        filled += size
    return [
        PlannedTar(name=f"data/{split}/{split}-{index:05d}-of-{len(groups):05d}.tar", split=split, keys=tuple(keys))
        for index, keys in enumerate(groups)
    ]


def write_tar(task: TarTask) -> ReleasedTar:
    """Write a tar, and move it to the release.

    Raises: StorageError: candidates are not what their record says, or an image is not what was predicted.
    """
    with tempfile.TemporaryDirectory(prefix="release-") as temporary:
        path = Path(temporary, "part.tar")
        with path.open("wb") as file, closing(SampleTar(file)) as tar:
            for image, stored in read_portions(task.portions):
                tar.add(image.sample.key, _members(image, stored, task))
        record = storage.stored_file_at(path)
        with path.open("rb") as written:
            md5 = hashlib.file_digest(written, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        storage.publish_file(storage.join(task.folder, task.name), path)
    return ReleasedTar(
        record=StoredFile(name=task.name, file_bytes=record.file_bytes, sha256=record.sha256),
        samples=sum(len(portion.images) for portion in task.portions),
        md5=md5,
    )


def _members(image: Picked, stored: Mapping[str, bytes], task: TarTask) -> dict[str, bytes]:
    """Those of one sample; the same names for all of a release."""
    mask = mask_of(decode_png(stored["saliency.png"]))
    original = {"jpg": original_bytes(image, task.max_image_bytes)} if task.embed_images else {}
    return original | {
        "mask.png": encode_png(mask.astype("uint8") * 255),
        "saliency.png": stored["saliency.png"],
        "variance.png": stored["variance.png"],
        "json": facts_json(image.sample, image.row, task.licenses[image.sample.key]),
    }


def facts_json(sample: Sample, row: CandidateRow, licence: License) -> bytes:
    """`KEY.json`: the same keys and JSON types for every sample."""
    scores = {name: float(value) for name, value in row.scores.items()}
    return encode_json(facts_of(sample, row, licence) | {"scores": scores})


def wids_index(name: str, tars: Sequence[ReleasedTar]) -> bytes:
    """The index that the readers of the `wids` package take, so that samples can be had by number; as of wids 0.1."""
    shards = [
        {
            "url": tar.record.name.rpartition("/")[2],
            "md5sum": tar.md5,
            "nsamples": tar.samples,
            "filesize": tar.record.file_bytes,
        }
        for tar in tars
    ]
    return encode_json({"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name, "shardlist": shards})
