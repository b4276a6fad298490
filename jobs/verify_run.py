"""Check a run: every shard against plan and shard record; Arguments lists the options."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.ahead import begun
from jobs.command_line import DONE, FAILED, answer, parse_config, print_problems, run_job, wants_json
from jobs.commands import COMMANDS

if TYPE_CHECKING:
    from pipeline.passes.check import PassCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Read a whole run with its score passes, and compare it with its plan and its shard records.

    Exit codes: 0 nothing is wrong, or no longer after --repair (images may be left to compute), 1 something is wrong,
    2 there is no run, or --repair was given while a session works on it, or on a score pass.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # folder or URL, the --out of the run
    repair: bool = False
    """Restore run.json, plan and device.json where the rest of the run proves what they held, and remove what else is
    torn or stray; run the command of the run, or of the score pass, again to recompute that."""


def print_pass(found: "PassCheck", repair: bool) -> None:
    """Print what was found about a score pass."""
    print(f"score pass {found.name}: {found.scored} images scored, {found.failed} failed, {found.left} left to score")
    print_problems(found.problems)
    if found.removed:
        print(f"files removed: {len(found.removed)}; run the command of this pass again to score what is missing")
    elif found.stray and not repair:
        print(f"files left by killed sessions, harmless: {len(found.stray)}, for example {found.stray[0]}")
    if found.broken and not repair:
        print(f"broken shards: {len(found.broken)}; --repair removes them, so that the pass scores them again")


def main() -> int:
    """Check the run, repair it if requested, and print what is wrong."""
    arguments = parse_config(Arguments, sys.argv[1:], COMMANDS["run verify"])
    with begun(f"checking {arguments.run}"):
        from pipeline.files import urls
        from pipeline.passes.check import refuse_busy_passes, repair_passes, verify_passes
        from pipeline.runs.check import lasting_problems, repair_run, verify_run

    run = urls.absolute(arguments.run)
    restored: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    if arguments.repair:
        refuse_busy_passes(run)
        done = repair_run(run)
        check, restored, removed = done.check, done.restored, done.removed
        passes = repair_passes(run)
    else:
        check = verify_run(run)
        passes = verify_passes(run, check.broken)
    left = [*(lasting_problems(run) if arguments.repair and check.problems else check.problems)]
    left += [problem for found in passes for problem in (found.remaining if arguments.repair else found.problems)]
    if wants_json():
        of_passes = [{**asdict(found), "left": found.left} for found in passes]
        more = {"left": check.left, "restored": restored, "removed": removed, "passes": of_passes}
        answer({**asdict(check), **more})
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
        for found in passes:
            print_pass(found, arguments.repair)
    if left and arguments.repair:
        print(f"problems that --repair can't mend: {len(left)}, for example {left[0].where}: {left[0].what}")
    return FAILED if left else DONE


if __name__ == "__main__":
    run_job(main)
