"""Assembles a release from candidates: tars, annotations, manifest, card, and `release.json` last.

No model is needed. Every file follows from the inputs, the candidates and the policy; the order of work does not show.
"""

import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pipeline import storage
from pipeline.candidates import CandidateMaps, read_maps, read_record, read_rows
from pipeline.coco import License
from pipeline.config import RunConfig, as_values
from pipeline.errors import ReleaseExistsError, SampleError, StorageError
from pipeline.images import read_bytes
from pipeline.maps import encode_png, mask_of
from pipeline.records import CandidateRow, FileRecord, Sample, ShardSpec, Verdict
from pipeline.release.card import card
from pipeline.release.coco_json import CocoAnnotations
from pipeline.release.manifest import Manifest
from pipeline.tars import SampleTar, encode_json

log = logging.getLogger(__name__)

SPLIT = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSource:
    """A complete run, with the verdicts of a policy."""

    run: str
    specs: Sequence[ShardSpec]
    licenses: Mapping[int, License]
    verdicts: Mapping[str, Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One predicted image, as stored."""

    sample: Sample
    row: CandidateRow
    maps: CandidateMaps


def assemble(source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str]) -> str:
    """Make the release that `config` names, if it is not there yet.

    Returns: its folder.
    Raises:  ReleaseExistsError: the version is there, made from something else.
             StorageError: an image changed, or went away, since it was predicted.
    """
    name = f"{config.release.name}-{config.release.version}"
    folder = storage.join(config.out, "release", name)
    identity = _identity(source, config, made_with)
    if storage.exists(storage.join(folder, "release.json")):
        _refuse_other(folder, identity)
        log.info("release %s is complete", name)
        return folder
    storage.remove_tree(folder)  # the remains of an assembly that was cut off: nothing names them
    contents = _write_contents(source, config, folder)
    release = {"format": 1, "name": config.release.name, "version": config.release.version, "made_from": identity}
    storage.publish(storage.join(folder, "release.json"), encode_json(release | contents))
    return folder


def candidates(source: ReleaseSource) -> Iterator[Candidate]:
    """Every predicted image in key order, with its stored maps."""
    for spec in source.specs:
        record = read_record(source.run, spec.name)
        samples = {sample.key: sample for sample in spec.samples}
        rows = {row.key: row for row in read_rows(source.run, record)}
        for key, maps in read_maps(source.run, record):
            yield Candidate(sample=samples[key], row=rows[key], maps=maps)


def _write_contents(source: ReleaseSource, config: RunConfig, folder: str) -> dict[str, Any]:
    """All files but `release.json`; returns what that one says about them."""
    annotations = CocoAnnotations(config.release, source.licenses)
    manifest = Manifest(source.licenses)
    with (
        tempfile.TemporaryDirectory(prefix="release-") as temporary,
        _TarSeries(Path(temporary), config.release.tar_bytes) as tars,
    ):
        for candidate in candidates(source):
            if source.verdicts[candidate.row.key].decision == "accepted":
                members = _members(candidate, source.licenses, config)
                tar_index = tars.add(candidate.row.key, members)
                annotations.add(candidate.sample, mask_of(candidate.maps.saliency))
                manifest.place(candidate.row.key, tar_index, hashlib.sha256(members["mask.png"]).hexdigest())
        files = tars.publish(folder)
    for spec in source.specs:
        rows = read_rows(source.run, read_record(source.run, spec.name))
        for sample, row in zip(spec.samples, rows, strict=True):
            manifest.add(sample, row, source.verdicts[row.key])
    decisions = Counter[str](verdict.decision for verdict in source.verdicts.values())
    counts = dict(sorted(decisions.items()))
    for name, content in {
        f"annotations/{SPLIT}.json": annotations.encode(),
        "manifest.parquet": manifest.encode([file.name for file in files]),
        "README.md": card(config, counts),
    }.items():
        files.append(_named(storage.publish(storage.join(folder, name), content), name))
    return {"counts": counts, "files": [asdict(file) for file in sorted(files, key=lambda file: file.name)]}


def _members(candidate: Candidate, licenses: Mapping[int, License], config: RunConfig) -> dict[str, bytes]:
    """The tar members of one accepted image; the same names, JSON keys and JSON types for all."""
    sample, row, maps = candidate.sample, candidate.row, candidate.maps
    licence = licenses.get(sample.license_id, License(id=sample.license_id, name="", url=""))
    facts = {
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
        "scores": {name: float(value) for name, value in row.scores.items()},
    }
    return {
        "jpg": _original_bytes(sample, row, config),
        "mask.png": encode_png(mask_of(maps.saliency).astype("uint8") * 255),
        "saliency.png": encode_png(maps.saliency),
        "variance.png": encode_png(maps.variance),
        "json": encode_json(facts),
    }


def _original_bytes(sample: Sample, row: CandidateRow, config: RunConfig) -> bytes:
    """The image as it was predicted, byte by byte."""
    try:
        content = read_bytes(sample, max_bytes=config.input.max_image_bytes)
    except SampleError as error:
        raise StorageError(f"key {sample.key} was predicted, but its image is gone now: {error.detail}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != row.image_sha256:
        raise StorageError(
            f"key {sample.key}: {sample.file_name} has changed since it was predicted: its SHA-256 was "
            f"{row.image_sha256} then, {found} now. Put the old file back, or make a new run"
        )
    return content


class _TarSeries:
    """Tars of about `tar_bytes`, written to a local folder; their names need the number of all, so come last."""

    def __init__(self, folder: Path, tar_bytes: int) -> None:
        self._folder = folder
        self._tar_bytes = tar_bytes
        self._paths: list[Path] = []
        self._tar: SampleTar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def add(self, key: str, members: Mapping[str, bytes]) -> int:
        """Write a sample; returns the number of the tar that it is in."""
        if self._tar is None:
            self._paths.append(self._folder / f"{len(self._paths)}.tar")
            self._file = self._paths[-1].open("wb")
            self._tar = SampleTar(self._file)
        self._tar.add(key, members)
        index = len(self._paths) - 1
        if self._file.tell() >= self._tar_bytes:
            self._close()
        return index

    def publish(self, folder: str) -> list[FileRecord]:
        """Move all tars to the release; returns their records, named relative to it, in order."""
        self._close()
        files = []
        for index, path in enumerate(self._paths):
            name = f"data/{SPLIT}/{SPLIT}-{index:05d}-of-{len(self._paths):05d}.tar"
            files.append(_named(storage.record_of_file(path), name))
            storage.publish_file(storage.join(folder, name), path)
        return files

    def _close(self) -> None:
        if self._tar is not None:
            try:
                self._tar.close()
            finally:
                self._file.close()
                self._tar = None


def _named(record: FileRecord, name: str) -> FileRecord:
    return FileRecord(name=name, file_bytes=record.file_bytes, sha256=record.sha256)


def _identity(source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str]) -> dict[str, Any]:
    """What a release is made from; equal identities give equal releases."""
    digest = hashlib.sha256()
    for spec in source.specs:
        record = read_record(source.run, spec.name)
        digest.update(f"{record.shard} {record.tar.sha256} {record.rows.sha256}\n".encode())
    return {
        "name": config.release.name,
        "version": config.release.version,
        "fingerprint": dict(made_with),
        "candidates": digest.hexdigest(),
        "policy": as_values(config.policy),
        "tar_bytes": config.release.tar_bytes,
        "licenses": hashlib.sha256(repr(sorted(source.licenses.items())).encode()).hexdigest(),
    }


def _refuse_other(folder: str, identity: Mapping[str, Any]) -> None:
    try:
        found = json.loads(storage.read(storage.join(folder, "release.json")))["made_from"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{folder}/release.json can't be read ({error}); remove the folder to make it anew"
        ) from error
    differing = sorted(name for name in identity.keys() | found.keys() if identity.get(name) != found.get(name))
    if differing:
        raise ReleaseExistsError(
            f"{folder} is there already, with another {', '.join(differing)}"
            f" (policy there: {found.get('policy')}, asked for: {identity['policy']}). Give another --version"
        )
