"""Turn pairs of maps and masks into an `Evaluation`, in this process or as tasks on a cluster.

Outcomes are sorted by name, and every mean is computed here from the values of single images: hence the figures are
the same to the last bit, wherever the images were measured.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.config import ClusterConfig
from pipeline.errors import PipelineError
from pipeline.evaluation.bootstrap import Intervals, intervals
from pipeline.evaluation.confident import ConfidentlyWrong, confidently_wrong
from pipeline.evaluation.figures import parts_of
from pipeline.evaluation.outcomes import Failed, How, Measured, Outcome, measure_files
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.risk_coverage import RiskCoverage, badnesses, errors_of, risk_coverages
from pipeline.evaluation.summary import Summary, summarise
from pipeline.evaluation.together import Together, all_pairs
from pipeline.progress.stages import Failures, stage
from pipeline.replicas.tasks import spread
from pipeline.selection.columns import ScoreTable
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.scores import SCORE_TABLE

log = logging.getLogger(__name__)

CHUNK_IMAGES = 16
"""Images per task: about half a second of work."""
_LOGGED = 20
"""Images without a figure that are named."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The results for a set of maps. Images and failures, each sorted by name, make up all pairs."""

    images: tuple[Measured, ...]
    failures: tuple[Failed, ...]
    summary: Summary
    """Figures of `images`."""
    risk_coverage: Mapping[str, Mapping[str, RiskCoverage]]
    """Score → error → how well the score predicts it; empty for maps without scores."""
    together: tuple[Together, ...] = ()
    """The same for every pair of scores."""
    confidently_wrong: ConfidentlyWrong | None = None
    """What the policy accepts though it is wrong; None for maps without scores, or too few."""
    table: ScoreTable = field(default_factory=lambda: SCORE_TABLE)
    """What is known of the scores."""
    intervals: Intervals = field(default_factory=dict)
    """Figure → its interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The pairs that one task measures."""

    pairs: Sequence[Pair]
    how: How


def evaluate_pairs(pairs: Sequence[Pair], how: How, cluster: ClusterConfig) -> Evaluation:
    """Measure every saliency map against its mask.

    Args, Raises: as `measure_pairs` and `gather`.
    """
    return gather(measure_pairs(pairs, how, cluster))


def measure_pairs(pairs: Sequence[Pair], how: How, cluster: ClusterConfig, *, has_all: bool = True) -> list[Outcome]:
    """Measure every saliency map against its mask; the outcomes are in the order of the pairs.

    Maps of another size than their mask are resized to it, bilinearly and in 8 bits, as the field's toolkits do.

    Args: cluster: where the work runs; the result is the same to the last bit.
          has_all: a map that is missing is a failure, which is named as it happens.
    """
    chunks = [Chunk(pairs=pairs[i : i + CHUNK_IMAGES], how=how) for i in range(0, len(pairs), CHUNK_IMAGES)]
    return measure_all(measure_chunk, chunks, cluster, len(pairs), has_all=has_all)


def measure_chunk(chunk: Chunk) -> list[Outcome]:
    """Measure the pairs of one task."""
    return [measure_files(pair, chunk.how) for pair in chunk.pairs]


def measure_all(
    function: Callable[[Item], list[Outcome]],
    items: Sequence[Item],
    cluster: ClusterConfig,
    images: int,
    *,
    has_all: bool = True,
) -> list[Outcome]:
    """Collect the outcomes of all items, in the order of the items. Args: has_all: see `measure_pairs`."""
    with stage("measuring maps", images, "images", every_s=cluster.progress_every_s) as measuring:
        failures = Failures("evaluation.json")

        def count(outcomes: list[Outcome]) -> None:
            for outcome in outcomes:
                if has_all and isinstance(outcome, Failed):
                    failures.add(f"{outcome.name} failed: {outcome.reason}", key=outcome.name, detail=outcome.reason)
            measuring.advance(len(outcomes), f"{failures.count} failed" if failures.count else "")

        return [outcome for answer in spread(function, items, cluster, count) for outcome in answer]


def gather(
    outcomes: Iterable[Outcome], table: ScoreTable = SCORE_TABLE, policy: PolicyConfig | None = None
) -> Evaluation:
    """Sort outcomes by name and average what was measured.

    Args:   table: the scores that images may have: those of predictions, and of the run's passes.
            policy: what it accepts is looked through for images that are wrong; by default, with nothing given.
    Raises: PipelineError: nothing was measured.
    """
    found = sorted(outcomes, key=lambda outcome: outcome.name)
    images = tuple(outcome for outcome in found if isinstance(outcome, Measured))
    failures = tuple(outcome for outcome in found if isinstance(outcome, Failed))
    _log_some([f"{image.name} counts as the worst: {image.unusable}" for image in images if image.unusable])
    if not images:
        raise PipelineError(f"none of the {len(failures)} images could be measured; the first: {failures[0].reason}")
    with stage("computing means, curves and intervals"):
        measures, scores = [image.measures for image in images], [image.scores for image in images]
        wrong = confidently_wrong(scores, measures, policy)
        return Evaluation(
            images=images,
            failures=failures,
            summary=summarise(measures),
            risk_coverage=risk_coverages(scores, measures, table),
            together=all_pairs(badnesses(scores, table), errors_of(measures), wrong),
            confidently_wrong=wrong,
            table=table,
            intervals=intervals(parts_of(measures)),
        )


def _log_some(lines: Sequence[str]) -> None:
    for line in lines[:_LOGGED]:
        log.error("%s", line)
    if len(lines) > _LOGGED:
        log.error("and %d more; evaluation.json names all of them", len(lines) - _LOGGED)
