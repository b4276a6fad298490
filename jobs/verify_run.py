"""Check a run: every shard against its plan and its record; see Arguments for what can be set."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, FAILED, print_problems, report, run_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Read all of a run and compare it with its plan and its records.

    Exit codes: 0 everything that is there is right (more may be left to compute), 1 something is not, or was not and
    is thrown away now, 2 there is no run, or --repair while a session works on it.
    """

    run: Annotated[str, tyro.conf.Positional]  # folder or URL, the --out of the run
    repair: bool = False  # throw away what is torn or stray; the run's own command computes it again
    json: bool = False  # print everything as one line of JSON instead


def report_thousands(shards: int, of: int) -> None:
    """A line of progress now and then."""
    if shards % 1000 == 0:
        report(f"{shards} of {of} shards are read")


def main() -> int:
    """Check, and repair if that was asked for."""
    arguments = tyro.cli(Arguments, description=Arguments.__doc__)
    from pipeline.files import urls
    from pipeline.runs.check import repair_run, verify_run

    run = urls.absolute(arguments.run)
    check, removed = repair_run(run, report_thousands) if arguments.repair else (verify_run(run, report_thousands), ())
    if arguments.json:
        print(json.dumps({**asdict(check), "left": check.left, "removed": removed}))
    else:
        print(f"{run}: {check.checked} of {check.shards} shards are there")
        print(f"{check.images} images: {check.done} predicted, {check.failed} failed, {check.left} left to compute")
        print_problems(check.problems)
        if check.stray and not arguments.repair:
            print(f"{len(check.stray)} files are left of killed sessions, {check.stray[0]} for example: no harm")
        if removed:
            print(f"{len(removed)} files removed; the run's own command computes what is missing")
        elif check.broken:
            print(f"{len(check.broken)} shards are broken: --repair throws them away, to be computed again")
    return FAILED if check.problems else DONE


if __name__ == "__main__":
    run_job(main)
