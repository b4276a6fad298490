"""Measurements side by side in one run; see Arguments for what there is."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, FAILED, report, run_job
from pipeline.benchmarks.kinds import Busy, Case, Growth, Orchestration, Release, Resume
from pipeline.benchmarks.model_kinds import Adaptive, Breakdown, Choices, Limit, Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Measure one kind of thing in several cases, each in a process of its own, and print a table of them."""

    kind: Speed | Adaptive | Choices | Limit | Breakdown | Busy | Orchestration | Growth | Resume | Release
    json: bool = False
    """One line of JSON instead of the table."""


def main() -> int:
    """Measure, and print a table."""
    flat = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes, tyro.conf.CascadeSubcommandArgs)
    arguments = tyro.cli(Arguments, description=Arguments.__doc__, config=flat)
    name, found = type(arguments.kind).__name__.lower(), list[dict[str, Any]]()
    for case in arguments.kind.cases():
        answer = measured(name, case)
        if answer is None:
            return FAILED
        found.append(answer)
        report(f"{name} {' '.join(map(str, case.values()))}: done")
    lines = [json.dumps({name: found})] if arguments.json else arguments.kind.table(found)
    print(*lines, sep="\n")
    return DONE


def measured(name: str, case: Case) -> dict[str, Any] | None:
    """One measurement: memory is that of a process which does nothing else. None if it failed."""
    command = [sys.executable, "-m", "pipeline.benchmarks", name]
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        subprocess.Popen([*command, folder, json.dumps(case)], cwd=sys.path[0], stdout=subprocess.PIPE) as process,
    ):
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:
            process.terminate()  # it shuts its cluster down, which a kill would leave
            process.communicate()
            raise
    return json.loads(output.splitlines()[-1]) if process.returncode == 0 else None


if __name__ == "__main__":
    run_job(main)
