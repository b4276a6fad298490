"""Pairs of maps and masks → an `Evaluation`, in this process or as tasks on a cluster.

Outcomes come back in the order of the names, and every mean is taken here from the values of single images: so the
figures are the same to the last bit, wherever the images were measured.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.config import ClusterConfig
from pipeline.errors import PipelineError
from pipeline.evaluation.measures import ALL_METRICS, Metric
from pipeline.evaluation.outcomes import Failed, How, Measured, Outcome, measure_files
from pipeline.evaluation.pairs import Pair, pair_files
from pipeline.evaluation.risk_coverage import RiskCoverage, by_score
from pipeline.evaluation.summary import Summary, summarise
from pipeline.replicas.tasks import spread

log = logging.getLogger(__name__)

CHUNK_IMAGES = 16
"""Images per task: about a second of work."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that is known of a set of maps; images and failures in the order of their names, together every pair."""

    images: tuple[Measured, ...]
    failures: tuple[Failed, ...]
    summary: Summary
    """Of `images`."""
    risk_coverage: Mapping[str, Mapping[str, RiskCoverage]]
    """Score → error → how well the one sorts out the other; empty for maps without scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The work of one task."""

    pairs: Sequence[Pair]
    how: How


def evaluate_folders(
    predictions: Path,
    masks: Path,
    *,
    normalize: bool = True,
    metrics: Collection[Metric] = ALL_METRICS,
    count: int | None = None,
    cluster: ClusterConfig | None = None,
) -> Evaluation:
    """Measure a folder of saliency maps against a folder of masks, paired by name without suffix.

    Maps of another size than their mask are resized to it, bilinearly and in 8 bits, as the field's toolkits do.

    Args:   normalize, metrics: see `measure`.
            count: how many pairs there must be, if that is known.
            cluster: where the work runs; this process if left out. It changes no bit of the result.
    Raises: CollectionError: the folders can't be paired. PipelineError: not one pair can be measured.
    """
    pairs = pair_files(predictions, masks, count)
    how = How(normalize=normalize, metrics=tuple(metrics))
    return evaluate_pairs(pairs, how, cluster or ClusterConfig(engine="inline"))


def evaluate_pairs(pairs: Sequence[Pair], how: How, cluster: ClusterConfig) -> Evaluation:
    """The same for files that are paired already."""
    chunks = [Chunk(pairs=pairs[i : i + CHUNK_IMAGES], how=how) for i in range(0, len(pairs), CHUNK_IMAGES)]
    return gather(measure_all(measure_chunk, chunks, cluster, len(pairs)))


def measure_chunk(chunk: Chunk) -> list[Outcome]:
    """What one task does."""
    return [measure_files(pair, chunk.how) for pair in chunk.pairs]


def measure_all(
    function: Callable[[Item], list[Outcome]], items: Sequence[Item], cluster: ClusterConfig, images: int
) -> list[Outcome]:
    """The outcomes of all items, in the order of the items; lines in the log say how far it is."""
    done, shown_s = 0, time.monotonic()

    def count(outcomes: list[Outcome]) -> None:
        nonlocal done, shown_s
        done += len(outcomes)
        if time.monotonic() - shown_s >= cluster.progress_every_s:
            log.info("%d/%d images measured", done, images)
            shown_s = time.monotonic()

    return [outcome for answer in spread(function, items, cluster, count) for outcome in answer]


def gather(outcomes: Iterable[Outcome]) -> Evaluation:
    """Average what was measured. Raises PipelineError if nothing was."""
    found = sorted(outcomes, key=lambda outcome: outcome.name)
    images = tuple(outcome for outcome in found if isinstance(outcome, Measured))
    failures = tuple(outcome for outcome in found if isinstance(outcome, Failed))
    for failure in failures:
        log.error("%s failed: %s", failure.name, failure.reason)
    if not images:
        raise PipelineError(f"none of the {len(failures)} images could be measured; the first: {failures[0].reason}")
    measures = [image.measures for image in images]
    return Evaluation(
        images=images,
        failures=failures,
        summary=summarise(measures),
        risk_coverage=by_score([image.scores for image in images], measures),
    )
