"""Saliency maps against masks, in the measures of the field; see EvaluationConfig for all options."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, SOME_FAILED, log_reference_preset, run_job
from pipeline.config import from_options, with_preset
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
    """The preset's options, overruled by those of the command line; exits with 2 when wrong."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--reference", action=argparse.BooleanOptionalAction, default=False)
    options = with_preset({}, finder.parse_known_args(arguments)[0].reference)
    config: EvaluationConfig = tyro.cli(
        EvaluationConfig,
        args=arguments,
        default=from_options(EvaluationConfig, options, missing=tyro.MISSING),
        description=EvaluationConfig.__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return config


if __name__ == "__main__":
    run_job(main)
