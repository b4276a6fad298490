"""Write the annotation JSON of images that have none; CollectConfig has all options."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.command_line import DONE, SOME_FAILED, answer, parse_config, report, run_job
from jobs.commands import COMMANDS
from pipeline.collection.config import CollectConfig


def main() -> int:
    """Collect, then say what to do next; print the outcome as one line of JSON on stdout."""
    config = parse(sys.argv[1:])
    from pipeline.collection.collect import collect
    from pipeline.shown import shown

    collected = collect(config)
    images, annotations = (shlex.quote(shown(path)) for path in (config.images, config.out))
    report(f"{annotations} lists {collected.collected} of {collected.images} images, sizes are {collected.orientation}")
    given = f"--images {images} --annotations {annotations} --orientation {collected.orientation}"
    report(f"next: {COMMANDS['label'].called()} {given} --out RUN")
    answer(asdict(collected))
    return SOME_FAILED if collected.failed else DONE


def parse(arguments: Sequence[str]) -> CollectConfig:
    """Options of the command line; exits with 2 if they are wrong."""
    return parse_config(CollectConfig, arguments, COMMANDS["collect"])


if __name__ == "__main__":
    run_job(main)
