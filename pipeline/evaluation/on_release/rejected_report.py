"""What `evaluation.json` has of rejected images: figures of accepted, rejected and all, and by reason of rejection."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from pipeline.evaluation.on_release.report import figures_of
from pipeline.evaluation.outcomes import Failed, Measured, Outcome
from pipeline.evaluation.task import OnRejected


def rejected_section(rejected: OnRejected, accepted: Sequence[Measured], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Make the section.

    Args: accepted: the images of the evaluation's figures. outcomes: of the pairs of the rejected images.
    """
    measured = sorted((found for found in outcomes if isinstance(found, Measured)), key=lambda found: found.name)
    failed = sorted((found for found in outcomes if isinstance(found, Failed)), key=lambda found: found.name)
    both = sorted([*accepted, *measured], key=lambda found: found.name)
    groups = {"accepted": accepted, "rejected": measured, "all": both}
    return {
        "run": rejected.run,
        "images": len(rejected.reasons),
        "measured": len(measured),
        "missing": len(rejected.reasons) - len(rejected.pairs),
        "unusable": [{"name": found.name, "reason": found.reason} for found in failed],
        "empty_masks": sum(found.measures.empty_truth for found in measured),
        "groups": [{"stratum": name, **figures_of(images)} for name, images in groups.items() if images],
        "by_reason": _by_reason(rejected, measured),
    }


def _by_reason(rejected: OnRejected, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    members: defaultdict[str, list[Measured]] = defaultdict(list)
    for found in measured:
        members[rejected.reasons[found.name]].append(found)
    counts = Counter(rejected.reasons.values())
    return [
        {"stratum": reason, "rejected": counts[reason], **figures_of(members[reason])} for reason in sorted(members)
    ]
