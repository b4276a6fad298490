"""Measurements of one kind, side by side; `pipeline/benchmarks/` has the kinds and their options."""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.command_line import DONE, FAILED, USAGE, parse_config, report, run_job, wants_json
from jobs.commands import COMMANDS
from pipeline.benchmarks.benchmark import Benchmark, Case
from pipeline.benchmarks.kinds import KINDS, options_class
from pipeline.devices import require_device
from pipeline.option_texts import about
from pipeline.options import did_you_mean


def main() -> int:
    """Run the cases of one kind, each in its own process, and print a table of the results."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("--help", "-h"):
        print(overview())
        return DONE
    if name not in KINDS:
        wrong = f"there is no measurement {name}.{did_you_mean(name, KINDS)}" if name else "name a measurement first."
        report(f"error: {wrong} There are: {', '.join(KINDS)}")
        return USAGE
    of_kind = replace(COMMANDS["bench"], name=f"bench {name}", word=name, examples=())
    kind: Benchmark = parse_config(options_class(name), sys.argv[2:], of_kind)
    for part in (kind, getattr(kind, "work", None)):
        require_device(getattr(part, "device", "cpu"))
    results = list[dict[str, Any]]()
    for case in kind.cases():
        result = measured(name, case)
        if result is None:
            return FAILED
        results.append(result)
        report(f"{name} {' '.join(map(str, case.values()))}: done")
    lines = [json.dumps({name: results})] if wants_json() else kind.table(results)
    print(*lines, sep="\n")
    return DONE


def overview() -> str:
    """Every kind with the first sentence of what it measures."""
    called = COMMANDS["bench"].called()
    lines = [f"usage: {called} {{{','.join(KINDS)}}} [options]; each has --help", ""]
    lines += [f"  {name:14}{about(options_class(name)).partition('. ')[0].rstrip('.')}" for name in KINDS]
    return "\n".join(lines)


def measured(name: str, case: Case) -> dict[str, Any] | None:
    """The result of one measurement, in a process of its own, so that its memory is its own; None if it failed."""
    command = [sys.executable, "-m", "pipeline.benchmarks", name]
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        subprocess.Popen([*command, folder, json.dumps(case)], cwd=sys.path[0], stdout=subprocess.PIPE) as process,
    ):
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:
            process.terminate()  # lets it shut its cluster down; a kill would leave the cluster running
            process.communicate()
            raise
    return json.loads(output.splitlines()[-1]) if process.returncode == 0 else None


if __name__ == "__main__":
    run_job(main)
