"""The tars of one split."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline import storage
from pipeline.records import FileRecord
from pipeline.tars import SampleTar, encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedTar:
    """A tar as it lies in the release."""

    record: FileRecord
    """Named relative to the release."""
    samples: int
    md5: str


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


class TarSeries:
    """Tars of about `tar_bytes`, written to a local folder; their names need the number of all, so come last."""

    def __init__(self, folder: Path, split: str, tar_bytes: int) -> None:
        self._folder = folder
        self._split = split
        self._tar_bytes = tar_bytes
        self._paths: list[Path] = []
        self._samples: list[int] = []
        self._tar: SampleTar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def add(self, key: str, members: Mapping[str, bytes]) -> int:
        """Write a sample; returns the number of the tar that it is in."""
        if self._tar is None:
            self._paths.append(self._folder / f"{self._split}-{len(self._paths)}.tar")
            self._samples.append(0)
            self._file = self._paths[-1].open("wb")
            self._tar = SampleTar(self._file)
        self._tar.add(key, members)
        self._samples[-1] += 1
        index = len(self._paths) - 1
        if self._file.tell() >= self._tar_bytes:
            self._close()
        return index

    def publish(self, folder: str) -> list[ReleasedTar]:
        """Move all tars to the release; returns them in order."""
        self._close()
        tars = []
        for index, (path, samples) in enumerate(zip(self._paths, self._samples, strict=True)):
            name = f"data/{self._split}/{self._split}-{index:05d}-of-{len(self._paths):05d}.tar"
            record = storage.record_of_file(path)
            with path.open("rb") as file:
                md5 = hashlib.file_digest(file, "md5").hexdigest()
            storage.publish_file(storage.join(folder, name), path)
            record = FileRecord(name=name, file_bytes=record.file_bytes, sha256=record.sha256)
            tars.append(ReleasedTar(record=record, samples=samples, md5=md5))
        return tars

    def _close(self) -> None:
        if self._tar is not None:
            try:
                self._tar.close()
            finally:
                self._file.close()
                self._tar = None
