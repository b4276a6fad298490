"""Turn photos into saliency maps; PhotosConfig has all options."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.command_line import DONE, SOME_FAILED, answer, log_reference_preset, parse_config, run_job, value_of
from jobs.commands import COMMANDS
from pipeline.photos.config import PhotosConfig

if TYPE_CHECKING:
    from pipeline.photos.predict import PhotoResult


def main() -> int:
    """Predict, then print the outcome as one line of JSON on stdout."""
    config = parse(sys.argv[1:])
    from pipeline.photos.preflight import check_request

    check_request(config)
    if config.reference:
        log_reference_preset(config.ensemble)
    from pipeline.photos.predict import predict

    report = predict(config, with_progress_bar)
    answer(asdict(report))
    return SOME_FAILED if report.failed else DONE


def parse(arguments: Sequence[str]) -> PhotosConfig:
    """Options of the preset and of the command line; exits with 2 if they are wrong.

    Raises: ConfigError: they contradict each other.
    """
    config = parse_config(PhotosConfig, arguments, COMMANDS["predict"], {"batch_size": 0})
    from pipeline.photos.preflight import refuse_full_precision

    refuse_full_precision(config, value_of(arguments, "--dtype"))
    return config


def with_progress_bar(results: "Iterator[PhotoResult]", total: int) -> "Iterator[PhotoResult]":
    """Pass the results on, and show a progress bar below the log messages if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    # The bar moves the cursor, so it goes around the stream that escapes such characters; it has no words but its own.
    console = Console(file=getattr(sys.stderr, "terminal", sys.stderr))
    columns = (BarColumn(), MofNCompleteColumn(), "photos", TimeRemainingColumn())
    with Progress(
        *columns, console=console, disable=not console.is_terminal, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        yield from progress.track(results, total=total)


if __name__ == "__main__":
    run_job(main)
