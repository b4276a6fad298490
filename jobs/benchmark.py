"""Measurements side by side in one run; see Arguments for what can be set."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, USAGE, report, run_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Time and memory of finding out what is left of a run, for several numbers of committed shards."""

    shards: tuple[int, ...] = (1_000, 10_000, 100_000)  # synthetic, with true records and a true plan
    images_per_shard: int = 1  # more images make a larger plan
    json: bool = False  # one line of JSON instead of the table


def main() -> int:
    """Measure each number of shards in a process of its own, so that memory is its own too."""
    arguments = tyro.cli(Arguments, description=Arguments.__doc__)
    if not arguments.shards or min(*arguments.shards, arguments.images_per_shard) < 1:
        report("error: --shards and --images-per-shard are at least 1")
        return USAGE
    found = []
    for shards in arguments.shards:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            code = f"from pipeline.benchmark import resume; resume({folder!r}, {shards}, {arguments.images_per_shard})"
            root = Path(__file__).resolve().parents[1]
            done = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout))
        report(f"{shards} shards: {found[-1]['seconds']:.2f} s")
    if arguments.json:
        print(json.dumps({"resume": found}))
        return DONE
    print("| committed shards | seconds until work begins | per shard | memory of it |")
    print("|---|---|---|---|")
    for row in found:
        each_ms = 1e3 * row["seconds"] / row["shards"]
        print(f"| {row['shards']:,} | {row['seconds']:.2f} s | {each_ms:.3f} ms | {row['bytes'] / 1e6:.0f} MB |")
    return DONE


if __name__ == "__main__":
    run_job(main)
