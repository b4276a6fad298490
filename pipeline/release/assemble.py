"""Assembles a release from candidates: tars, annotations, manifest, card, and `release.json` last.

No model is needed. Every file follows from the inputs, the candidates and the policy; the order of work does not show.
"""

import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.candidates import CandidateMaps, read_maps, read_rows
from pipeline.coco import License, Origin
from pipeline.config import RunConfig, as_values
from pipeline.errors import ReleaseExistsError, SampleError, StorageError
from pipeline.images import read_bytes
from pipeline.maps import encode_png, mask_of
from pipeline.policy import parse_splits
from pipeline.records import CandidateRow, FileRecord, Sample, ShardRecord, ShardSpec, Verdict
from pipeline.release.card import card
from pipeline.release.coco_json import CocoAnnotations
from pipeline.release.licenses import LicenseTable, license_of
from pipeline.release.manifest import Manifest
from pipeline.release.tar_series import TarSeries, wids_index
from pipeline.tars import encode_json

log = logging.getLogger(__name__)

RECORD = "release.json"
SUMS = "SHA256SUMS"
"""Sums of all files but itself and `release.json`, which has its sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSource:
    """A complete run, with the verdicts of a policy."""

    run: str
    specs: Sequence[ShardSpec]
    records: Mapping[str, ShardRecord]
    """Shard → its record, read once: what verdicts were decided on is what the release is made of."""
    licenses: Mapping[int, License]
    origins: Mapping[str, Origin]
    verdicts: Mapping[str, Verdict]

    def reasons(self) -> dict[str, dict[str, int]]:
        """Decision → reason → images."""
        counts: dict[str, Counter[str]] = {}
        for verdict in self.verdicts.values():
            counts.setdefault(verdict.decision, Counter())[verdict.reason] += 1
        return {decision: dict(sorted(reasons.items())) for decision, reasons in sorted(counts.items())}


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
    if storage.exists(storage.join(folder, RECORD)):
        _refuse_other(folder, identity)
        log.info("release %s is complete", name)
        return folder
    storage.remove_tree(folder)  # the remains of an assembly that was cut off: nothing names them
    contents = _write_contents(source, config, folder, made_with)
    release = {"format": 1, "name": config.release.name, "version": config.release.version, "made_from": identity}
    if not storage.create(storage.join(folder, RECORD), encode_json(release | contents)):
        _refuse_other(folder, identity)
    return folder


def candidates(source: ReleaseSource) -> Iterator[Candidate]:
    """Every predicted image in key order, with its stored maps."""
    for spec in source.specs:
        record = source.records[spec.name]
        samples = {sample.key: sample for sample in spec.samples}
        rows = {row.key: row for row in read_rows(source.run, record)}
        for key, maps in read_maps(source.run, record):
            yield Candidate(sample=samples[key], row=rows[key], maps=maps)


class _Split:
    """What is collected of one split."""

    def __init__(self, name: str, config: RunConfig, source: ReleaseSource, folder: Path) -> None:
        self.name = name
        self.tars = TarSeries(folder, name, config.release.tar_bytes)
        self.annotations = CocoAnnotations(config.release, source.licenses)


def split_of(key: str, shares: Mapping[str, float]) -> str:
    """The split of an image: its key decides, so that it is the same in every release with the same shares."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return name  # shares add up to 1 but for the last bits


def _write_contents(
    source: ReleaseSource, config: RunConfig, folder: str, made_with: Mapping[str, str]
) -> dict[str, Any]:
    """All files but `release.json`; returns what that one says about them."""
    manifest, licenses = Manifest(source.licenses), LicenseTable(source.licenses, source.origins)
    shares = parse_splits(config.release.splits)
    files: list[FileRecord] = []
    tar_names: dict[str, list[str]] = {}
    contents: dict[str, bytes] = {}
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="release-")))
        splits = {name: _Split(name, config, source, temporary) for name in shares}
        for split in splits.values():
            stack.enter_context(split.tars)
        for candidate in candidates(source):
            if source.verdicts[candidate.row.key].decision == "accepted":
                members = _members(candidate, source.licenses, config)
                split = splits[split_of(candidate.row.key, shares)]
                tar_index = split.tars.add(candidate.row.key, members)
                split.annotations.add(candidate.sample, mask_of(candidate.maps.saliency))
                licenses.add(candidate.sample)
                mask_sha256 = hashlib.sha256(members["mask.png"]).hexdigest()
                manifest.place(candidate.row.key, split.name, tar_index, mask_sha256)
        for split in splits.values():
            tars = split.tars.publish(folder)
            tar_names[split.name] = [tar.record.name for tar in tars]
            files += [tar.record for tar in tars]
            contents[f"annotations/{split.name}.json"] = split.annotations.encode()
            contents[f"data/{split.name}/index.json"] = wids_index(config.release.name, tars)
    for spec in source.specs:
        rows = read_rows(source.run, source.records[spec.name])
        for sample, row in zip(spec.samples, rows, strict=True):
            manifest.add(sample, row, source.verdicts[row.key])
    counts = {decision: sum(reasons.values()) for decision, reasons in source.reasons().items()}
    contents |= {
        "manifest.parquet": manifest.encode(tar_names),
        "licenses.csv": licenses.encode(),
        "NOTICE": licenses.notice(f"{config.release.name} {config.release.version}"),
        "README.md": card(config, source.reasons(), made_with, [name for name, tars in tar_names.items() if tars]),
    }
    files += [_publish(folder, name, content) for name, content in contents.items()]
    files.sort(key=lambda file: file.name)
    files.append(_publish(folder, SUMS, sha256_sums(files)))
    return {"counts": counts, "files": [asdict(file) for file in sorted(files, key=lambda file: file.name)]}


def sha256_sums(files: Sequence[FileRecord]) -> bytes:
    """As `sha256sum --check` reads them."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in files).encode()


def _publish(folder: str, name: str, content: bytes) -> FileRecord:
    record = storage.publish(storage.join(folder, name), content)
    return FileRecord(name=name, file_bytes=record.file_bytes, sha256=record.sha256)


def _members(candidate: Candidate, licenses: Mapping[int, License], config: RunConfig) -> dict[str, bytes]:
    """The tar members of one accepted image; the same names, JSON keys and JSON types for all."""
    sample, row, maps = candidate.sample, candidate.row, candidate.maps
    licence = license_of(sample, licenses)
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
    image = {"jpg": _original_bytes(sample, row, config)} if config.release.embed_images else {}
    return image | {
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


def _identity(source: ReleaseSource, config: RunConfig, made_with: Mapping[str, str]) -> dict[str, Any]:
    """What a release is made from; equal identities give equal releases."""
    digest = hashlib.sha256()
    for spec in source.specs:
        record = source.records[spec.name]
        digest.update(f"{record.shard} {record.tar.sha256} {record.rows.sha256}\n".encode())
    identity = {
        "name": config.release.name,
        "version": config.release.version,
        "fingerprint": dict(made_with),
        "candidates": digest.hexdigest(),
        "policy": as_values(config.policy),
        "tar_bytes": config.release.tar_bytes,
        "embed_images": config.release.embed_images,
        "splits": parse_splits(config.release.splits),
        "licenses": _digest_of(source.licenses),
        "origins": _digest_of(source.origins),
    }
    as_stored: dict[str, Any] = json.loads(encode_json(identity))  # tuples become lists
    return as_stored


def _digest_of(values: Mapping[Any, Any]) -> str:
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()


def _refuse_other(folder: str, identity: Mapping[str, Any]) -> None:
    try:
        found = json.loads(storage.read(storage.join(folder, RECORD)))["made_from"]
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
