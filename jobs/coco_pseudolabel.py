"""The main job: turn images and their annotation JSON into a salient-object release. RunConfig has all options."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.ahead import begun, command, next_steps
from jobs.command_line import DONE, SOME_FAILED, answer, log_reference_preset, log_upload, parse_config, run_job
from jobs.commands import COMMANDS
from pipeline.config import RunConfig

if TYPE_CHECKING:
    from pipeline.run import RunReport


def main() -> int:
    """Run, then print one JSON line on stdout that says how it ended."""
    config = parse(sys.argv[1:])
    if config.reference:
        log_reference_preset(config.ensemble, config.model)
    with begun(f"{'forecasting' if config.dry_run else 'labelling'} {config.input.images} into {config.out}"):
        from pipeline.preflight import require_surroundings

        require_surroundings(config)
        from pipeline.run import resolved, run

    log_upload(Path.cwd())
    if config.dry_run:
        return print_forecast(resolved(config))
    report = run(resolved(config))
    print_table(report)
    print_next_steps(report)
    answer(asdict(report))
    if report.failed_share > config.max_failed_share:
        print(
            f"{report.failed_share:.1%} of the images failed, {config.max_failed_share:.1%} are allowed "
            "(--max-failed-share). The manifest has the reason for each",
            file=sys.stderr,
        )
        return SOME_FAILED
    return DONE


def parse(arguments: Sequence[str]) -> RunConfig:
    """Combine the preset, the TOML file if one is given, and the command line. Exits with 2 if an option is wrong.

    Raises: ConfigError: no release could be made.
    """
    config = parse_config(RunConfig, arguments, COMMANDS["label"])
    config.check()
    return config


def print_forecast(config: RunConfig) -> int:
    """Print the state of the run and its forecast: a table on stderr, JSON on stdout."""
    from rich.console import Console
    from rich.table import Table

    from pipeline.forecast import forecast

    found = forecast(config)
    table = Table(title="Dry run: nothing was written", show_header=False)
    rows = [
        ("input", f"{found.images} images in {found.shards} shards"),
        ("new to the run", str(found.added)),
        ("done", f"{found.committed}, of which {found.failed} failed"),
        ("left", str(found.left)),
        ("storage of all candidates", f"{found.candidate_bytes / 1e9:.3f} GB" if found.bytes_per_image else "?"),
    ]
    if found.pilot_images:
        rows.append(
            ("time on one replica", f"{found.replica_s_per_image:.3f} s per image ({found.pilot_images} tried)")
        )
        rows.append(("time left", f"{found.replica_hours:.2f} hours of one replica"))
    for name, value in rows:
        table.add_row(name, value)
    Console(stderr=True, soft_wrap=True).print(table)
    derived = {name: getattr(found, name) for name in ("left", "replica_hours", "candidate_bytes")}
    answer({**asdict(found), **derived})
    return DONE


def print_table(report: "RunReport") -> None:
    """Print the counts for people, on stderr with the log."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Run", show_header=False)
    rejected = [(f"rejected: {reason}", count) for reason, count in report.rejected.items()]
    failed = [(f"failed: {reason}", count) for reason, count in report.failed.items()] or [("failed", 0)]
    for name, value in [("input", report.images), ("accepted", report.accepted), *rejected, *failed]:
        table.add_row(name, str(value))
    table.add_row("computed now", str(report.computed))
    table.add_row("images/s", f"{report.images_per_s:.2f}" if report.computed else "nothing was left to compute")
    console = Console(stderr=True, soft_wrap=True)
    console.print(table)
    if report.failed:
        console.print(
            "To retry failed images once their cause is mended: --retry-failed with a new --version", highlight=False
        )
    console.print(f"contact sheet  {report.contact_sheet}", highlight=False, markup=False)


def print_next_steps(report: "RunReport") -> None:
    """Print what people can do with the release."""
    next_steps(
        f"open {report.page}",
        f"verify with: {command('release verify', report.release)}",
        f"publish with: {command('release push', report.release)} TARGET",
    )


if __name__ == "__main__":
    run_job(main)
