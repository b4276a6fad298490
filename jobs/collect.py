"""Write the annotation JSON of images that have none; CollectConfig has all options."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.command_line import DONE, SOME_FAILED, parse_config, report, run_job
from pipeline.collection.config import CollectConfig


def main() -> int:
    """Collect, then print the outcome as one line of JSON on stdout."""
    config = parse(sys.argv[1:])
    from pipeline.collection.collect import collect
    from pipeline.shown import shown

    collected = collect(config)
    given = f"--images {shlex.quote(shown(config.images))} --annotations {shlex.quote(shown(config.out))}"
    report(f"next: jobs/coco_pseudolabel.py {given} --orientation {collected.orientation} --out RUN")
    print(json.dumps(asdict(collected), sort_keys=True))
    return SOME_FAILED if collected.failed else DONE


def parse(arguments: Sequence[str]) -> CollectConfig:
    """Options of the command line; exits with 2 if they are wrong."""
    return parse_config(CollectConfig, arguments, {})


if __name__ == "__main__":
    run_job(main)
