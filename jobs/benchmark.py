"""Measurements side by side in one run; see Arguments for what can be set."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, USAGE, report, run_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Time and memory of what grows with a collection, for several sizes of it, each in a process of its own.

    resume: finding out what is left of a run, for several numbers of committed shards. release: assembling a release
    from candidates, and checking it, for several numbers of images.
    """

    what: tyro.conf.Positional[Literal["resume", "release"]] = "resume"
    shards: tuple[int, ...] = (1_000, 10_000, 100_000)  # of resume: synthetic, with true records and a true plan
    images_per_shard: int = 1  # of resume: more images make a larger plan
    images: tuple[int, ...] = (1_000, 10_000)  # of release: 640 x 480 px, 140 KB each with its maps
    engine: Literal["ray", "inline"] = "inline"  # of release
    json: bool = False  # one line of JSON instead of the table


def main() -> int:
    """Measure, and print a table."""
    arguments = tyro.cli(Arguments, description=Arguments.__doc__)
    sizes = arguments.shards if arguments.what == "resume" else arguments.images
    if not sizes or min(*sizes, arguments.images_per_shard) < 1:
        report(f"error: --{'shards and --images-per-shard' if arguments.what == 'resume' else 'images'} are at least 1")
        return USAGE
    found = [_measured(arguments, size) for size in sizes]
    if arguments.json:
        print(json.dumps({arguments.what: found}))
        return DONE
    print(*(_resume_table(found) if arguments.what == "resume" else _release_table(found)), sep="\n")
    return DONE


def _measured(arguments: Arguments, size: int) -> dict[str, Any]:
    """One measurement; memory is that of a process which does nothing else."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        if arguments.what == "resume":
            call = f"from pipeline.benchmark import resume; resume({folder!r}, {size}, {arguments.images_per_shard})"
        else:
            name, call = "measure_release", f"measure_release({folder!r}, {size}, {arguments.engine!r})"
            call = f"from pipeline.release.benchmark import {name}; {call}"
        root = Path(__file__).resolve().parents[1]
        done = subprocess.run([sys.executable, "-c", call], cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    report(f"{size} {'shards' if arguments.what == 'resume' else 'images'}: done")
    return found


def _resume_table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| committed shards | seconds until work begins | per shard | memory of it |"
    yield "|---|---|---|---|"
    for row in found:
        each_ms = 1e3 * row["seconds"] / row["shards"]
        yield f"| {row['shards']:,} | {row['seconds']:.2f} s | {each_ms:.3f} ms | {row['bytes'] / 1e6:.0f} MB |"


def _release_table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| candidates | accepted | release | assembled | rate | memory of it | checked |"
    yield "|---|---|---|---|---|---|---|"
    for row in found:
        yield (
            f"| {row['images']:,} | {row['accepted']:,} | {row['release_bytes'] / 1e9:.2f} GB "
            f"| {row['assemble_s']:.1f} s | {row['images'] / row['assemble_s']:.0f} images/s "
            f"| {row['assemble_bytes'] / 1e6:.0f} MB | {row['verify_s']:.1f} s |"
        )


if __name__ == "__main__":
    run_job(main)
