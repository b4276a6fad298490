"""What `evaluation.json` has of a release: which one, what was missing, its certificate, and figures by stratum."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pipeline.errors import PipelineError
from pipeline.evaluation.bootstrap import intervals
from pipeline.evaluation.config import Missing
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.figures import parts_of
from pipeline.evaluation.on_release.label_errors import certificate_section
from pipeline.evaluation.on_release.strata import BY_PARTS, MEANINGS, in_order, parts_in_words
from pipeline.evaluation.outcomes import Measured, Unusable
from pipeline.evaluation.summary import SCALARS, summarise
from pipeline.evaluation.task import OnRelease, Task

SHOWN = 20
"""Names that a message or a page lists."""
UNUSABLE: dict[Missing, Unusable] = {"worst": "is worst", "skip": "fails"}
RULES: dict[Missing, str] = {
    "worst": "an image without a usable prediction has the worst value of each metric: MAE 1, and 0 for all others, "
    "also at every threshold",
    "skip": "images without a usable prediction are left out of all figures",
}


def release_section(task: Task, on_release: OnRelease, evaluation: Evaluation, missing: Missing) -> dict[str, Any]:
    """Make the section.

    Raises: PipelineError: no prediction could be measured.
    """
    without = {pair.name for pair in task.pairs if pair.source is None}
    reasons = {image.name: image.unusable for image in evaluation.images if image.unusable}
    reasons |= {failure.name: failure.reason for failure in evaluation.failures}
    unusable = {name: reason for name, reason in sorted(reasons.items()) if name not in without}
    if len(reasons) == len(task.pairs):
        example = next(iter(unusable.values()), "there are none")
        raise PipelineError(f"none of the {len(task.pairs)} images has a usable prediction; the first: {example}")
    return {
        "name": on_release.name,
        "version": on_release.version,
        "release_json_sha256": on_release.sha256,
        "splits": list(on_release.splits),
        "images": len(task.pairs),
        "missing_counts_as": missing,
        "rule": RULES[missing],
        "missing": sorted(without),
        "unusable": [{"name": name, "reason": reason} for name, reason in unusable.items()],
        "surplus": len(on_release.surplus),
        "surplus_names": list(on_release.surplus[:SHOWN]),
        "certificate": certificate_section(on_release.certificate, len(evaluation.images)),
        "strata": _strata(evaluation.images, on_release),
    }


def _strata(images: Sequence[Measured], on_release: OnRelease) -> dict[str, Any]:
    by_parts = {image.name: parts_in_words(image.parts) for image in images if image.parts is not None}
    found = {}
    for kind, stratum_of in {**on_release.strata, BY_PARTS: by_parts}.items():
        members: defaultdict[str, list[Measured]] = defaultdict(list)
        for image in images:
            members[stratum_of[image.name]].append(image)
        strata = [{"stratum": stratum, **figures_of(members[stratum])} for stratum in in_order(list(members))]
        found[kind] = {"meaning": MEANINGS[kind], "strata": strata}
    return found


def figures_of(images: Sequence[Measured]) -> dict[str, Any]:
    """Number, figures and intervals of some images, sorted by name; at least one."""
    measures = [image.measures for image in images]
    summary = summarise(measures)
    return {
        "images": len(images),
        "metrics": {name: getattr(summary, name) for name in SCALARS},
        "intervals": intervals(parts_of(measures)),
    }
