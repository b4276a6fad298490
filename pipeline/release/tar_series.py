"""The tars of a release: plans which image goes into which tar, and writes one tar per task.

The size of every member is known before any tar is written. So tars get their final names, which contain the number of
tars, at once, and can be written in parallel.
"""

import hashlib
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.collection.collection import License
from pipeline.config import ReleaseConfig
from pipeline.errors import StorageError
from pipeline.files import storage
from pipeline.files.tars import SampleTar, encode_json
from pipeline.progress.stages import counted
from pipeline.records import CandidateRow, Sample, StoredFile
from pipeline.release.pictures import NOTHING_KNOWN, Known, pictures_from
from pipeline.release.released import released_image
from pipeline.release.source import Picked, Portion, facts_of, original_bytes, read_portions

_BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTar:
    """A tar before it is written."""

    name: str
    """Relative to the release."""
    split: str
    keys: tuple[str, ...]
    sample_bytes: tuple[int, ...]
    """Bytes that the sample of each key takes in the tar; it begins where the one before it ends."""

    def places(self) -> Iterator[tuple[str, int, int]]:
        """Key, offset in the tar, and bytes of each sample."""
        offsets = itertools.accumulate(self.sample_bytes, initial=0)
        return zip(self.keys, offsets, self.sample_bytes, strict=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TarTask:
    """Everything needed to write one tar."""

    folder: str
    """Where the release is made."""
    name: str
    portions: tuple[Portion, ...]
    licenses: Mapping[str, License]
    """Key → licence."""
    release: ReleaseConfig
    known: Mapping[str, Known]
    """Key → what decides its pictures besides its maps."""
    released_sha256: Mapping[str, str]
    """Key → SHA-256 of the image as the manifest will state it."""
    max_image_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedTar:
    """A tar as it was written."""

    file: StoredFile
    """Its name is relative to the release."""
    samples: int
    md5: str


def tar_member_bytes(content_bytes: int) -> int:
    """Bytes that a member takes in a tar: a header, then the content in whole blocks."""
    return _BLOCK_BYTES * (1 + -(-content_bytes // _BLOCK_BYTES))


def plan_tars(split: str, sample_bytes: Iterable[tuple[str, int]], tar_bytes: int) -> list[PlannedTar]:
    """Distribute a split's samples over tars, in order; a tar ends with the sample that brings it to `tar_bytes`.

    Args: sample_bytes: pairs of a key and the bytes that its sample takes in a tar.
    """
    groups: list[list[tuple[str, int]]] = []
    filled = tar_bytes
    for key, size in sample_bytes:
        if filled >= tar_bytes:
            groups.append([])
            filled = 0
        groups[-1].append((key, size))
        filled += size
    return [
        PlannedTar(
            name=f"data/{split}/{split}-{index:05d}-of-{len(groups):05d}.tar",
            split=split,
            keys=tuple(key for key, _ in samples),
            sample_bytes=tuple(size for _, size in samples),
        )
        for index, samples in enumerate(groups)
    ]


def write_tar(task: TarTask) -> ReleasedTar:
    """Write a tar and move it into the release.

    Raises: StorageError: candidates do not match their shard record, or an image has changed since it was predicted.
    """
    images = sum(len(portion.images) for portion in task.portions)
    # Shown only where the task has no process of its own.
    read = counted(f"writing {task.name}", read_portions(task.portions), images, "images")
    stored, md5 = add_tar(
        storage.join(task.folder, task.name),
        ((image.sample.key, _members(image, maps, task)) for image, maps in read),
    )
    return ReleasedTar(file=replace(stored, name=task.name), samples=images, md5=md5)


def add_tar(url: str, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> tuple[StoredFile, str]:
    """Write samples (key; extension → content) to a tar, and move it to its name once it is whole.

    Returns: the tar, and its MD5.
    """
    with tempfile.TemporaryDirectory(prefix="release-") as temporary:
        path = Path(temporary, "part.tar")
        with path.open("wb") as file, closing(SampleTar(file)) as tar:
            for key, members in samples:
                tar.add(key, members)
        with path.open("rb") as written:
            md5 = hashlib.file_digest(written, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return storage.add_file(url, path), md5


def _members(image: Picked, maps: Mapping[str, bytes], task: TarTask) -> dict[str, bytes]:
    """Tar members of one sample (extension → content); every sample of a release has the same extensions."""
    key = image.sample.key
    photo = {"jpg": _photo(image, task)} if task.release.embed_images else {}
    pictures = pictures_from(maps, task.release, task.known.get(key, NOTHING_KNOWN))
    return photo | pictures | {"json": facts_json(image.sample, image.row, task.licenses[key])}


def _photo(image: Picked, task: TarTask) -> bytes:
    released, content = released_image(image, original_bytes(image, task.max_image_bytes))
    expected = task.released_sha256[image.sample.key]
    if released.sha256 != expected:
        raise StorageError(
            f"key {image.sample.key}: released as {released.released_as}, its image has the SHA-256 {released.sha256}, "
            f"but {expected or 'could not be read'} where it was surveyed. Install the same versions of Pillow and "
            "NumPy on all machines, and build the release again"
        )
    return content


def facts_json(sample: Sample, row: CandidateRow, licence: License) -> bytes:
    """Encode `KEY.json`; keys and JSON types are the same for every sample."""
    scores = {name: float(value) for name, value in row.scores.items()}
    return encode_json(facts_of(sample, row, licence) | {"scores": scores})


def wids_index(name: str, tars: Sequence[ReleasedTar]) -> bytes:
    """Encode the index that `wids` (0.1) reads to give access to samples by number."""
    shards = [
        {
            "url": tar.file.name.rpartition("/")[2],
            "md5sum": tar.md5,
            "nsamples": tar.samples,
            "filesize": tar.file.file_bytes,
        }
        for tar in tars
    ]
    return encode_json({"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name, "shardlist": shards})
