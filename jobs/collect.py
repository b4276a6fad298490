"""Write the annotation JSON of images that have none; CollectConfig has all options."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.ahead import begun, command, next_steps
from jobs.command_line import DONE, SOME_FAILED, answer, parse_config, report, run_job
from jobs.commands import COMMANDS
from pipeline.collection.config import CollectConfig
from pipeline.options import as_arguments
from pipeline.shown import shown


def main() -> int:
    """Collect, then say what to do next; print the outcome as one line of JSON on stdout."""
    config = parse(sys.argv[1:])
    with begun(f"listing the images of {config.images} in {config.out}"):
        from pipeline.collection.collect import collect

    collected = collect(config)
    report(f"{config.out} lists {collected.collected} of {collected.images} images, sizes are {collected.orientation}")
    given = replace(config.input, annotations=config.out, orientation=collected.orientation)
    next_steps(command("label", *(shown(word) for word in [*as_arguments(given), "--out", "RUN"])))
    answer(asdict(collected))
    return SOME_FAILED if collected.failed else DONE


def parse(arguments: Sequence[str]) -> CollectConfig:
    """Options of the command line; exits with 2 if they are wrong."""
    return parse_config(CollectConfig, arguments, COMMANDS["collect"])


if __name__ == "__main__":
    run_job(main)
