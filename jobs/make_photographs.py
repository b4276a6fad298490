"""Make training pairs from real photographs labelled by a teacher; see Arguments for all options."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[0] = str(Path(__file__).resolve().parents[1])


from jobs.ahead import begun
from jobs.command_line import DONE, answer, parse_config, run_job
from jobs.commands import COMMANDS
from model.config import at_least
from pipeline.extras import require_extra
from pipeline.preconditions import require_target

if TYPE_CHECKING:
    from pipeline.embedded.photographs import Photograph


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Fetch the listed packages once into OUT/cache, label their photographs, then write OUT/part-*.npy, and
    OUT/recipe.json last. sod embedded train takes OUT beside the composites, and cuts new views at every step."""

    out: Path = Path("out/photographs")  # folder for the pairs of photograph and map
    px: int = 384  # side of the square pairs, 590 KB each at 384 px
    permissive_only: bool = False  # leave out photographs whose licence requires more than attribution
    threads: int = 2  # CPU threads of the teacher, which needs 3.5 s of them per photograph

    def __post_init__(self) -> None:
        at_least(self, 1, "threads")
        at_least(self, 32, "px")


def main() -> int:
    """Label, then print what was made as one JSON line."""
    arguments = parse_config(Arguments, sys.argv[1:], COMMANDS["embedded photographs"])
    require_target(arguments.out, "--out")
    with begun(f"labelling photographs in {arguments.out}"):
        from pipeline.embedded.composite_store import claim
        from pipeline.embedded.photograph_pairs import recipe_of, write_pairs
        from pipeline.embedded.photographs import label, missing_labels, read_list
        from pipeline.embedded.teacher import Teacher, teacher_weights

    cache = arguments.out / "cache"
    photographs = [item for item in read_list() if item.is_permissive or not arguments.permissive_only]
    sources = count_packages(photographs)
    claim(arguments.out, recipe_of([item.sha256 for item in photographs], sources, arguments.px), begin=False)
    if missing_labels(photographs, cache):
        require_extra("nano", "onnxruntime")
    labelled = label(photographs, cache, lambda: Teacher(teacher_weights(cache), arguments.threads))
    write_pairs(labelled, sources, arguments.px, arguments.out)
    answer({"out": str(arguments.out), "photographs": len(labelled)})
    return DONE


def count_packages(photographs: list["Photograph"]) -> list[dict[str, Any]]:
    """Every package and licence of the photographs, with the number of photographs used from it."""
    packages = Counter((item.registry, item.package, item.version, item.licence) for item in photographs)
    names = ("registry", "package", "version", "licence", "used")
    return [dict(zip(names, (*package, used), strict=True)) for package, used in packages.items()]


if __name__ == "__main__":
    run_job(main)
