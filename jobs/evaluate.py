"""Saliency maps against masks, in the measures of the field; see EvaluationConfig for all options."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.command_line import DONE, SOME_FAILED, log_reference_preset, parse_config, run_job
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.tasks import find_tasks


def main() -> int:
    """Evaluate, then say on stdout, as one JSON line, what came out."""
    config = parse(sys.argv[1:])
    if config.reference:
        log_reference_preset(config.ensemble)
    tasks = find_tasks(config)
    from pipeline.evaluation.job import brief, evaluate
    from pipeline.evaluation.tables import metrics_table

    documents = evaluate(tasks, config)
    print("\n".join(metrics_table(documents)), file=sys.stderr)
    print(json.dumps(brief(config.out, documents), sort_keys=True))
    return SOME_FAILED if any(document["failures"] for document in documents) else DONE


def parse(arguments: Sequence[str]) -> EvaluationConfig:
    """Options of the preset and of the command line; exits with 2 when wrong."""
    return parse_config(EvaluationConfig, arguments, {})


if __name__ == "__main__":
    run_job(main)
