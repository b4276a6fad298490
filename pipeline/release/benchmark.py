"""What `jobs/benchmark.py release` measures, one measurement per process."""

import hashlib
import io
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from model.prediction import Prediction
from pipeline.benchmark import MADE_WITH, peak_bytes
from pipeline.candidates import commit_shard, encode_members
from pipeline.coco import read_samples
from pipeline.config import ClusterConfig, InputConfig, RunConfig
from pipeline.fingerprint import settle_device
from pipeline.records import CandidateRow, Sample
from pipeline.release.build import build_release, source_of
from pipeline.release.verify import verify_release
from pipeline.run_record import open_run
from pipeline.scores import score
from pipeline.tars import encode_json

WIDTH, HEIGHT = 640, 480
"""As most of COCO's images."""
VARIANTS = 16
"""Different images; they come again under other keys, since what is measured is their number."""
SHARD_IMAGES = 64
MEMBERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One image and what was predicted of it, but for its key."""

    photo: bytes
    row: CandidateRow
    members: dict[str, bytes]


def measure_release(folder: str, images: int, engine: Literal["ray", "inline"]) -> None:
    """Make a run of so many candidates, then a release of it, then check that; prints seconds and bytes as JSON."""
    root = Path(folder)
    (root / "images").mkdir()
    variants = [_variant(number) for number in range(VARIANTS)]
    _write_inputs(root, images, variants)
    config = RunConfig(
        out=str(root / "run"),
        input=InputConfig(images=str(root / "images"), annotations=str(root / "annotations.json")),
        cluster=ClusterConfig(engine=engine),
    )
    collection = read_samples(config.input.annotations, config.input.images)
    made_with = MADE_WITH | {"ensemble_size": str(MEMBERS), "shard_size": str(SHARD_IMAGES)}
    specs, fingerprint = open_run(config.out, collection.samples, SHARD_IMAGES, made_with)
    settle_device(config.out, "cpu")
    for spec in specs:
        drawn = [(sample.key, *_candidate(sample, variants[sample.image_id % VARIANTS])) for sample in spec.samples]
        commit_shard(config.out, spec.name, [row for _, row, _ in drawn], [(key, members) for key, _, members in drawn])
    before, started = peak_bytes(), time.perf_counter()
    built = build_release(source_of(config, collection, specs), config, fingerprint)
    assembled_s, held_bytes = time.perf_counter() - started, peak_bytes() - before
    started = time.perf_counter()
    problems = verify_release(built.release, config.input.annotations).problems
    assert problems == (), problems[:3]
    found = {
        "images": images,
        "accepted": built.accepted,
        "engine": engine,
        "assemble_s": assembled_s,
        "assemble_bytes": held_bytes,
        "verify_s": time.perf_counter() - started,
        "release_bytes": sum(path.stat().st_size for path in Path(built.release).rglob("*") if path.is_file()),
    }
    print(json.dumps(found))


def _variant(number: int) -> Variant:
    """A photograph-like JPEG of about 100 kB, and members that agree on an ellipse but for its outline."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.float32)
    grain = random.normal(0, 6, (HEIGHT, WIDTH, 1))
    buffer = io.BytesIO()
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=85)
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    distance = np.hypot(rows, columns * (1 + number / VARIANTS))
    radii = 0.5 + 0.02 * np.arange(MEMBERS)
    members = np.stack([1 / (1 + np.exp((distance - radius) * 40)) for radius in radii]).astype(np.float32)
    prediction = Prediction(
        saliency=members.mean(0), variance=members.var(0), uncertainty=members.std(0), members=members
    )
    photo = buffer.getvalue()
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


def _write_inputs(root: Path, images: int, variants: list[Variant]) -> None:
    for number, variant in enumerate(variants):
        (root / "images" / f"variant-{number}.jpg").write_bytes(variant.photo)
    entries = []
    for number in range(1, images + 1):
        name = f"{number:012d}.jpg"
        (root / "images" / name).hardlink_to(root / "images" / f"variant-{number % VARIANTS}.jpg")
        entries.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 1})
    licenses = [{"id": 1, "name": "CC BY", "url": "http://creativecommons.org/licenses/by/2.0/"}]
    (root / "annotations.json").write_text(json.dumps({"images": entries, "licenses": licenses}))


def _candidate(sample: Sample, variant: Variant) -> tuple[CandidateRow, dict[str, bytes]]:
    row = replace(variant.row, key=sample.key)
    return row, variant.members | {"json": encode_json(asdict(row))}
