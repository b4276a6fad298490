"""Make the composites that the embedded model is trained on; see Arguments for what can be set."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, USAGE, report, run_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Fetch the sources' packages once into OUT/cache, then write OUT/part-*.npy and last OUT/recipe.json."""

    out: Path = Path("out/training")
    count: int = 12000  # composites; 200 KB each at 224 px
    seed: int = 0  # another seed gives other composites from the same material
    px: int = 224  # side of the square composites
    workers: int = 2  # processes of about 0.5 GB each; they change the speed, not the bytes
    permissive_only: bool = False  # leave out sources whose licence asks for more than attribution
    preview: Path | None = None  # write a PNG of 48 composites with their masks instead


def main() -> int:
    """Make the composites or their preview; one JSON line says what was made of what."""
    arguments = tyro.cli(Arguments, description=Arguments.__doc__)
    if min(arguments.count, arguments.workers) < 1 or arguments.px < 32:
        report("error: --count and --workers are at least 1, --px at least 32")
        return USAGE
    from pipeline.embedded.composite_store import Request, draw_preview, write_composites
    from pipeline.embedded.sources import SOURCES, fetch

    sources = [source for source in SOURCES if source.permissive or not arguments.permissive_only]
    material = fetch(arguments.out / "cache", sources, report)
    if arguments.preview is not None:
        draw_preview(material, arguments.seed, arguments.px).save(arguments.preview)
        print(json.dumps({"preview": str(arguments.preview)}))
        return DONE
    request = Request(count=arguments.count, seed=arguments.seed, px=arguments.px)
    recipe = write_composites(material, request, arguments.out, arguments.workers, report)
    used = {source["name"]: source["used"] for source in recipe["sources"]}
    print(json.dumps({"out": str(arguments.out), "count": recipe["count"], "used": used}))
    return DONE


if __name__ == "__main__":
    run_job(main)
