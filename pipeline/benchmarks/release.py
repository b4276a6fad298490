"""Assembling a release from candidates, and checking it: time and memory."""

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model.prediction import Prediction
from pipeline.benchmarks.inputs import MADE_WITH, VARIANTS, make_photo, write_collection
from pipeline.collection.coco import read_samples
from pipeline.config import ClusterConfig, RunConfig
from pipeline.files.tars import encode_json
from pipeline.records import CandidateRow, Sample
from pipeline.release.build import build_release, source_of
from pipeline.release.check.verify import verify_release
from pipeline.replicas.usage import peak_rss_bytes
from pipeline.runs.candidates import commit_shard, encode_members
from pipeline.runs.fingerprint import settle_device
from pipeline.runs.run_file import open_run
from pipeline.selection.scores import score

WIDTH, HEIGHT = 640, 480
"""As most of COCO's images."""
SHARD_IMAGES = 64
MEMBERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One image and what was predicted of it, but for its key."""

    photo: bytes
    row: CandidateRow
    members: dict[str, bytes]


def measure(folder: Path, images: int, engine: Literal["ray", "inline"]) -> dict[str, Any]:
    """Make a run of so many candidates, then a release of it, then check that."""
    variants = [_variant(number) for number in range(VARIANTS)]
    inputs = write_collection(folder, [variant.photo for variant in variants], images, WIDTH, HEIGHT)
    config = RunConfig(out=str(folder / "run"), input=inputs, cluster=ClusterConfig(engine=engine))
    collection = read_samples(config.input.annotations, config.input.images)
    made_with = MADE_WITH | {"ensemble_size": str(MEMBERS), "shard_size": str(SHARD_IMAGES)}
    specs, fingerprint = open_run(config.out, collection.samples, SHARD_IMAGES, made_with)
    settle_device(config.out, "cpu")
    for spec in specs:
        drawn = [(sample.key, *_candidate(sample, variants[sample.image_id % VARIANTS])) for sample in spec.samples]
        commit_shard(config.out, spec.name, [row for _, row, _ in drawn], [(key, members) for key, _, members in drawn])
    before, started = peak_rss_bytes(), time.perf_counter()
    built = build_release(source_of(config, collection, specs), config, fingerprint)
    assembled_s, held_bytes = time.perf_counter() - started, peak_rss_bytes() - before
    started = time.perf_counter()
    problems = verify_release(built.release, config.input.annotations).problems
    assert problems == (), problems[:3]
    return {
        "images": images,
        "accepted": built.accepted,
        "engine": engine,
        "assemble_s": assembled_s,
        "assemble_bytes": held_bytes,
        "verify_s": time.perf_counter() - started,
        "release_bytes": sum(path.stat().st_size for path in Path(built.release).rglob("*") if path.is_file()),
    }


def _variant(number: int) -> Variant:
    """A photo, and members that agree on an ellipse but for its outline."""
    photo = make_photo(number, WIDTH, HEIGHT)
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    distance = np.hypot(rows, columns * (1 + number / VARIANTS))
    radii = 0.5 + 0.02 * np.arange(MEMBERS)
    members = np.stack([1 / (1 + np.exp((distance - radius) * 40)) for radius in radii]).astype(np.float32)
    prediction = Prediction(
        saliency=members.mean(0), variance=members.var(0), uncertainty=members.std(0), members=members
    )
    row = CandidateRow(
        key="",
        status="done",
        reason="",
        detail="",
        image_sha256=hashlib.sha256(photo).hexdigest(),
        image_bytes=len(photo),
        members=MEMBERS,
        fewer_at_once=0,
        scores=score(prediction),
    )
    return Variant(photo=photo, row=row, members=encode_members(row, prediction))


def _candidate(sample: Sample, variant: Variant) -> tuple[CandidateRow, dict[str, bytes]]:
    row = replace(variant.row, key=sample.key)
    return row, variant.members | {"json": encode_json(row.stored())}
