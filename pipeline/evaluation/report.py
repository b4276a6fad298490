"""Write an evaluation to files: JSON for programs, a table for people, and one row per image for further questions.

The bytes depend only on inputs, settings and library versions: not on time, machine or order of work.
"""

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.evaluation import bootstrap
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.figures import OF_CURVES
from pipeline.evaluation.plots import draw_curves, draw_risk_coverage
from pipeline.evaluation.published_figures import Published, beside_published
from pipeline.evaluation.risk_coverage import RiskCoverage, badnesses
from pipeline.evaluation.scorer import scorer, versions
from pipeline.evaluation.summary import CURVES, SCALARS
from pipeline.evaluation.tables import markdown
from pipeline.files import storage
from pipeline.files.tars import encode_json
from pipeline.shown import text_as_utf8

FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was evaluated, as the request names it."""

    name: str
    """Name of the dataset, or of the folders."""
    maps: str
    """Folder of maps, or of the photos that a model predicted."""
    masks: str
    normalize: bool
    made_with: Mapping[str, str]
    """The run's fingerprint; empty for existing maps."""
    release: Mapping[str, Any] = field(default_factory=dict)
    """What `on_release/report.py` says of the release that the masks are from; empty for other masks."""
    published: tuple[Published, ...] = ()
    """Published figures that those of a dataset are set beside."""


def publish_evaluation(
    out: str, subject: Subject, evaluation: Evaluation, fitted: Mapping[str, Any] | None = None
) -> None:
    """Write all files of an evaluation, and what is known of a combination that was fitted on it.

    `evaluation.json` comes last: if it exists, so do the others.
    """
    storage.publish(storage.join(out, "images.parquet"), encode_images(evaluation))
    storage.publish(storage.join(out, "curves.png"), draw_curves(subject.name, evaluation.summary))
    if evaluation.risk_coverage:
        storage.publish(storage.join(out, "risk_coverage.png"), draw_risk_coverage(subject.name, evaluation))
    values = document(subject, evaluation, fitted)
    storage.publish(storage.join(out, "evaluation.md"), markdown(values).encode())
    storage.publish(storage.join(out, "evaluation.json"), encode_json(values))


def document(subject: Subject, evaluation: Evaluation, fitted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Put the content of `evaluation.json` together."""
    summary = evaluation.summary
    worst = sum(bool(image.unusable) for image in evaluation.images)
    metrics = {name: getattr(summary, name) for name in SCALARS}
    counts = {
        "pairs": summary.images + len(evaluation.failures),
        "measured": summary.images - worst,
        "worst": worst,
        "failed": len(evaluation.failures),
        "resized": sum(image.resized for image in evaluation.images),
        "empty_truths": summary.empty_truths,
        "constant_maps": summary.constant_maps,
    }
    return {
        "format": FORMAT,
        "name": subject.name,
        "settings": {"maps": subject.maps, "masks": subject.masks, "normalize": subject.normalize},
        "made_with": dict(subject.made_with),
        "counts": counts,
        "metrics": metrics,
        "intervals": {name: list(found) for name, found in evaluation.intervals.items()},
        "intervals_made_by": bootstrap.stated(),
        "scorer": scorer(normalize=subject.normalize),
        "release": dict(subject.release) or None,
        "published": beside_published(subject.name, metrics, counts["pairs"], subject.published),
        "curves": {name: getattr(summary, name) for name in CURVES},
        "risk_coverage": {
            score: {
                "worse_when": evaluation.table[score].worse_when,
                **{error: _figures(found) for error, found in by_error.items()},
            }
            for score, by_error in evaluation.risk_coverage.items()
        },
        "together": [
            {
                "scores": list(pair.scores),
                **{error: {"aurc": found.aurc, "gain": found.gain} for error, found in pair.risk_coverage.items()},
                **({"caught": dict(pair.caught)} if pair.caught else {}),
            }
            for pair in evaluation.together
        ],
        "combination": fitted,
        "confidently_wrong": _confidently_wrong(evaluation),
        "failures": [{"name": failure.name, "reason": failure.reason} for failure in evaluation.failures],
        "truths_sha256": hashlib.sha256(
            "".join(image.truth_sha256 for image in evaluation.images).encode()
        ).hexdigest(),
        "versions": versions(),
    }


def encode_images(evaluation: Evaluation) -> bytes:
    """Encode `images.parquet`: one row per image of the figures, sorted by name, with its scores and curves.

    Curves are float32: they take half of the space, and 1e-7 matters to no interval.
    """
    images = evaluation.images
    measures = [image.measures for image in images]
    columns: dict[str, Any] = {"name": _texts(image.name for image in images)}
    for name in ("mae", "s_measure", "weighted_f", "max_f", "adaptive_f", "max_e", "adaptive_e", "iou"):
        columns[name] = pa.array([getattr(measure, name) for measure in measures], pa.float64())
    for name in evaluation.risk_coverage:
        columns[name] = pa.array([image.scores.get(name) for image in images], pa.float64())
    for name in ("empty_truth", "constant_map"):
        columns[name] = pa.array([getattr(measure, name) for measure in measures], pa.bool_())
    columns["resized"] = pa.array([image.resized for image in images], pa.bool_())
    columns["unusable"] = _texts(image.unusable for image in images)
    for name in OF_CURVES:
        if all(getattr(measure, name) is not None for measure in measures):
            values = np.array([getattr(measure, name) for measure in measures], dtype=np.float32)
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 256)
    columns["truth_sha256"] = pa.array([image.truth_sha256 for image in images], pa.string())
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def _texts(values: Iterable[str]) -> pa.Array:
    """A column of texts; names of files may hold what UTF-8 can't."""
    return pa.array(map(text_as_utf8, values), pa.string())


def _confidently_wrong(evaluation: Evaluation) -> dict[str, Any] | None:
    found = evaluation.confidently_wrong
    if found is None:
        return None
    scores = [image.scores for image in evaluation.images]
    return {
        "accepted": int((found.wrong | found.good).sum()),
        "wrong": int(found.wrong.sum()),
        "good": int(found.good.sum()),
        "highest_iou_of_wrong": found.highest_iou,
        "names": [image.name for image, wrong in zip(evaluation.images, found.wrong, strict=True) if wrong],
        "caught": {score: found.caught(bad) for score, bad in badnesses(scores, evaluation.table).items()},
    }


def _figures(found: RiskCoverage) -> dict[str, float | None]:
    return {
        "aurc": found.aurc,
        "aurc_oracle": found.oracle_aurc,
        "aurc_random": found.random_aurc,
        "e_aurc": found.e_aurc,
        "gain": found.gain,
        "third_dropped": found.third_dropped,
        "lowered_by": found.lowered_by,
    }
