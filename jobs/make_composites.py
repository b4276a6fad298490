"""Make the composites that the embedded model is trained on; see Arguments for all options."""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])


from jobs.command_line import DONE, answer, parse_config, report, run_job
from jobs.commands import COMMANDS
from model.config import at_least, check_seed
from pipeline.errors import ConfigError
from pipeline.preconditions import require_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Fetch the sources' packages once into OUT/cache, then write OUT/part-*.npy, and OUT/recipe.json last."""

    out: Path = Path("out/training")  # folder for the composites
    count: int = 12000  # composites; 200 KB each at 224 px
    seed: int = 0  # another seed makes other composites from the same material
    px: int = 224  # side of the square composites
    workers: int = 2  # processes of about 0.5 GB each; they change the speed, not the bytes
    permissive_only: bool = False  # leave out sources whose licence requires more than attribution
    preview: Path | None = None  # write a PNG of 48 composites with their masks instead

    def __post_init__(self) -> None:
        at_least(self, 1, "count", "workers")
        at_least(self, 32, "px")
        check_seed(self.seed)


def main() -> int:
    """Make the composites or their preview, then print what was made from what as one JSON line."""
    arguments = parse_config(Arguments, sys.argv[1:], COMMANDS["embedded composites"])
    require_target(arguments.out, "--out")
    if arguments.preview is not None and arguments.preview.suffix.lower() != ".png":
        raise ConfigError(f"--preview {arguments.preview}: the preview is a PNG; give a name that ends in .png")
    from pipeline.embedded.archives import require_clients
    from pipeline.embedded.composite_store import Request, claim, draw_preview, write_composites
    from pipeline.embedded.sources import SOURCES, fetch

    sources = [source for source in SOURCES if source.permissive or not arguments.permissive_only]
    request = Request(count=arguments.count, seed=arguments.seed, px=arguments.px)
    cache = arguments.out / "cache"
    if arguments.preview is not None:
        require_target(arguments.preview.parent, "--preview")
    else:
        claim(arguments.out, {"seed": request.seed, "px": request.px}, begin=False)
    require_clients(cache / "archives", sources)
    material = fetch(cache, sources, report)
    if arguments.preview is not None:
        arguments.preview.parent.mkdir(parents=True, exist_ok=True)
        draw_preview(material, request.seed, request.px).save(arguments.preview)
        answer({"preview": str(arguments.preview)})
        return DONE
    recipe = write_composites(material, request, arguments.out, arguments.workers, report)
    used = {source["name"]: source["used"] for source in recipe["sources"]}
    answer({"out": str(arguments.out), "count": recipe["count"], "used": used})
    return DONE


if __name__ == "__main__":
    run_job(main)
