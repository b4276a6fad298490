"""Assembling a release from candidates, and checking it: time and memory."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.benchmarks.benchmark import Case, Result, at_least_one, table_head
from pipeline.config import ClusterConfig, RunConfig

if TYPE_CHECKING:
    from pipeline.records import CandidateRow, Sample, ShardSpec

WIDTH, HEIGHT = 640, 480
"""The size of most of COCO's images."""
SHARD_IMAGES = 64
ENSEMBLE_SIZE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Assembling a release from candidates, and checking it, for several numbers of images."""

    images: tuple[int, ...] = (1_000, 10_000)
    """Numbers of images, of 640 x 480 px and 140 KB each with their maps."""
    engine: Literal["ray", "inline"] = "inline"
    """`ray`: assembled by tasks on a cluster. `inline`: assembled by one process."""

    def __post_init__(self) -> None:
        at_least_one(self, "images")

    def cases(self) -> list[Case]:
        """One case per number of images."""
        return [{"images": images, "engine": self.engine} for images in self.images]

    def table(self, results: Sequence[Result]) -> Iterator[str]:
        """One row per case."""
        yield from table_head("candidates", "accepted", "release", "assembled", "rate", "memory of it", "checked")
        for result in results:
            images, assemble_s = result["images"], result["assemble_s"]
            yield (
                f"| {images:,} | {result['accepted']:,} | {result['release_bytes'] / 1e9:.2f} GB "
                f"| {assemble_s:.1f} s | {images / assemble_s:.0f} images/s "
                f"| {result['assemble_bytes'] / 1e6:.0f} MB | {result['verify_s']:.1f} s |"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One image and what was predicted for it, without a key."""

    photo: bytes
    row: "CandidateRow"
    members: dict[str, bytes]


def measure(folder: Path, *, images: int, engine: Literal["ray", "inline"]) -> dict[str, Any]:
    """Make a run of this many candidates, then a release from it, then check that."""
    from pipeline.benchmarks.inputs import MADE_WITH, VARIANTS, write_collection
    from pipeline.collection.gather import read_collection
    from pipeline.release.build import build_release, source_of
    from pipeline.release.check.verify import verify_release
    from pipeline.replicas.usage import peak_rss_bytes
    from pipeline.runs.run_file import open_run

    variants = [_variant(number) for number in range(VARIANTS)]
    inputs = write_collection(folder, [variant.photo for variant in variants], images, WIDTH, HEIGHT)
    config = RunConfig(out=str(folder / "run"), input=inputs, cluster=ClusterConfig(engine=engine))
    collection = read_collection(config.input)
    made_with = MADE_WITH | {"ensemble_size": str(ENSEMBLE_SIZE), "shard_size": str(SHARD_IMAGES)}
    specs, fingerprint = open_run(config.out, collection.samples, SHARD_IMAGES, made_with)
    _commit(config.out, specs, variants)
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


def _commit(run: str, specs: Sequence["ShardSpec"], variants: Sequence[Variant]) -> None:
    """Commit the candidates of all shards as a replica would."""
    from pipeline.runs.candidates import commit_shard
    from pipeline.runs.machine import settle_machine

    settle_machine(run, "cpu")
    for spec in specs:
        drawn = [(sample.key, *_candidate(sample, variants)) for sample in spec.samples]
        commit_shard(run, spec.name, [row for _, row, _ in drawn], [(key, members) for key, _, members in drawn])


def _variant(number: int) -> Variant:
    """A photo, and members that agree on an ellipse except for its outline."""
    import numpy as np

    from model.prediction import Prediction
    from pipeline.benchmarks.inputs import VARIANTS, make_photo
    from pipeline.records import CandidateRow
    from pipeline.runs.candidates import encode_members
    from pipeline.selection.scores import score

    photo = make_photo(number, WIDTH, HEIGHT)
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    distance = np.hypot(rows, columns * (1 + number / VARIANTS))
    radii = 0.5 + 0.02 * np.arange(ENSEMBLE_SIZE)
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
        members=ENSEMBLE_SIZE,
        fewer_at_once=0,
        scores=score(prediction),
    )
    return Variant(photo=photo, row=row, members=encode_members(row, prediction))


def _candidate(sample: "Sample", variants: Sequence[Variant]) -> tuple["CandidateRow", dict[str, bytes]]:
    from pipeline.files.tars import encode_json

    variant = variants[sample.image_id % len(variants)]
    row = replace(variant.row, key=sample.key)
    return row, variant.members | {"json": encode_json(row.stored())}
