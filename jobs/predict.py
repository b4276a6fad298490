"""Photos in, saliency maps out; see PhotosConfig for all options."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, SOME_FAILED, log_reference_preset, run_job
from pipeline.config import from_options, with_preset
from pipeline.photos.config import PhotosConfig

if TYPE_CHECKING:
    from pipeline.photos.predict import PhotoResult


def main() -> int:
    """Predict, then say on stdout, as one JSON line, how it ended."""
    config = parse(sys.argv[1:])
    if config.reference:
        log_reference_preset(config.ensemble)
    from pipeline.photos.predict import predict

    report = predict(config, with_progress_bar)
    print(json.dumps(asdict(report), sort_keys=True))
    return SOME_FAILED if report.failed else DONE


def parse(arguments: Sequence[str]) -> PhotosConfig:
    """The preset's options, overruled by those of the command line; exits with 2 when wrong."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--reference", action=argparse.BooleanOptionalAction, default=False)
    options = with_preset({"batch_size": 0}, finder.parse_known_args(arguments)[0].reference)
    config: PhotosConfig = tyro.cli(
        PhotosConfig,
        args=arguments,
        default=from_options(PhotosConfig, options, missing=tyro.MISSING),
        description=PhotosConfig.__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return config


def with_progress_bar(results: "Iterator[PhotoResult]", total: int) -> "Iterator[PhotoResult]":
    """Pass the results on; on a terminal a bar stands below the messages meanwhile."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), "photos", TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(results, total=total)


if __name__ == "__main__":
    run_job(main)
