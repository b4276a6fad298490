"""Measure the embedded model on the sample's hand-drawn masks and write its card; see Arguments for all options."""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])


from jobs.command_line import DONE, answer, parse_config, report, run_job
from jobs.commands import COMMANDS
from pipeline.preconditions import require_extra, require_target

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Evaluate on the 37 photographs with several numbers of steps; figures and pictures go into the card."""

    model: str = "nano"  # a model folder, or nano for the embedded weights
    card: Path = ROOT / "model/nano/README.md"  # must contain the two lines between which figures are written


def main() -> int:
    """Measure, then print where the card is as one JSON line."""
    arguments = parse_config(Arguments, sys.argv[1:], COMMANDS["embedded measure"])
    require_extra("eval", "py_sod_metrics", "cv2", "matplotlib")
    require_target(arguments.card.parent, "--card")
    from pipeline.embedded.model_card import write_card

    report(write_card(arguments.model, ROOT / "pipeline/sample", arguments.card, report))
    answer({"card": str(arguments.card)})
    return DONE


if __name__ == "__main__":
    run_job(main)
