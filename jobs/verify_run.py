"""Check a run: every shard against plan and shard record; Arguments lists the options."""

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
    """Read a whole run and compare it with its plan and its shard records.

    Exit codes: 0 nothing is wrong, or no longer after --repair (images may be left to compute), 1 something is wrong,
    2 there is no run, or --repair was given while a session works on it.
    """

    run: Annotated[str, tyro.conf.Positional]  # folder or URL, the --out of the run
    repair: bool = False
    """Restore run.json, plan and device.json where the rest of the run proves what they held, and remove what else is
    torn or stray; run the run's own command again to recompute that."""
    json: bool = False  # print one line of JSON instead


def report_thousands(shards: int, of: int) -> None:
    """Report progress at every thousandth shard."""
    if shards % 1000 == 0:
        report(f"{shards} of {of} shards read")


def main() -> int:
    """Check the run, repair it if requested, and print what is wrong."""
    arguments = tyro.cli(Arguments, description=Arguments.__doc__)
    from pipeline.files import urls
    from pipeline.runs.check import machine_problems, repair_run, verify_run

    run = urls.absolute(arguments.run)
    restored: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    if arguments.repair:
        done = repair_run(run, report_thousands)
        check, restored, removed = done.check, done.restored, done.removed
    else:
        check = verify_run(run, report_thousands)
    left = machine_problems(run) if arguments.repair and check.problems else check.problems
    if arguments.json:
        print(json.dumps({**asdict(check), "left": check.left, "restored": restored, "removed": removed}))
    else:
        print(f"{run}: {check.checked} of {check.shards} shards are committed")
        print(f"{check.images} images: {check.done} predicted, {check.failed} failed, {check.left} left to compute")
        print_problems(check.problems)
        if check.stray and not arguments.repair:
            print(f"files left by killed sessions, harmless: {len(check.stray)}, for example {check.stray[0]}")
        if restored:
            print(f"files restored: {', '.join(restored)}")
        if removed:
            print(f"files removed: {len(removed)}; run the run's own command again to recompute what is missing")
        elif check.broken:
            print(f"broken shards: {len(check.broken)}; --repair removes them, so that the run computes them again")
    if left and arguments.repair:
        print(f"problems that --repair can't mend: {len(left)}, for example {left[0].where}: {left[0].what}")
    return FAILED if left else DONE


if __name__ == "__main__":
    run_job(main)
