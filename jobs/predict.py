"""Turn photos into saliency maps; PhotosConfig has all options."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.ahead import begun, next_steps
from jobs.command_line import DONE, SOME_FAILED, answer, log_reference_preset, parse_config, run_job, value_of
from jobs.commands import COMMANDS
from pipeline.photos.config import PhotosConfig


def main() -> int:
    """Predict, then print the outcome as one line of JSON on stdout."""
    from pipeline.photos.preflight import at_home, check_request

    config = at_home(parse(sys.argv[1:]))
    check_request(config)
    if config.reference:
        log_reference_preset(config.ensemble, config.model)
    with begun(f"predicting the photos of {config.input_rgb_path} into {config.output_dir}"):
        from pipeline.photos.predict import predict

    report = predict(config)
    if report.predicted or report.skipped:
        next_steps(f"look at the maps in {report.output_dir}")
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


if __name__ == "__main__":
    run_job(main)
