"""Measurements of one kind, side by side; see Arguments for the kinds."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, FAILED, report, run_job
from pipeline.benchmarks.benchmark import Benchmark, Case
from pipeline.benchmarks.kinds import KINDS, options_class
from pipeline.devices import require_device

if TYPE_CHECKING:
    Kind = Benchmark
else:
    Kind = Union[tuple(map(options_class, KINDS))]  # noqa: UP007


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Run the cases of one kind of measurement, each in its own process, and print a table of the results."""

    kind: Kind
    json: bool = False
    """Print one line of JSON instead of the table."""


def main() -> int:
    """Measure, and print a table."""
    flat = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes, tyro.conf.CascadeSubcommandArgs)
    arguments = tyro.cli(Arguments, description=Arguments.__doc__, config=flat)
    for part in (arguments.kind, getattr(arguments.kind, "work", None)):
        require_device(getattr(part, "device", "cpu"))
    name, results = type(arguments.kind).__name__.lower(), list[dict[str, Any]]()
    for case in arguments.kind.cases():
        result = measured(name, case)
        if result is None:
            return FAILED
        results.append(result)
        report(f"{name} {' '.join(map(str, case.values()))}: done")
    lines = [json.dumps({name: results})] if arguments.json else arguments.kind.table(results)
    print(*lines, sep="\n")
    return DONE


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
