"""Check a release as a suspicious stranger does; see Arguments for what can be set."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.command_line import DONE, FAILED, print_problems, report, run_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Read every byte of a release and compare all of it: sums, manifest, masks, run lengths, licences, card, page.
    Then load it with the libraries of its users.

    Exit codes: 0 nothing is wrong, 1 something is, 2 there is no complete release.
    """

    release: Annotated[str, tyro.conf.Positional]  # folder or URL
    annotations: str = ""  # COCO annotation JSON that the images come from, to compare ids, names, sizes, licences
    loaders: bool = True  # try webdataset, datasets, pycocotools and mlcroissant, each in a process of its own
    json: bool = False  # print everything as one line of JSON instead


def main() -> int:
    """Check, and say in plain words what is wrong."""
    arguments = tyro.cli(Arguments, description=Arguments.__doc__)
    from pipeline.files import urls
    from pipeline.release.check.verify import verify_release

    release = urls.absolute(arguments.release)
    check = verify_release(release, arguments.annotations, loaders=arguments.loaders, report=report)
    if arguments.json:
        print(json.dumps(asdict(check)))
        return FAILED if check.problems else DONE
    print(f"{check.name} {check.version}: {check.accepted} samples, {check.images} rows in the manifest")
    print(f"SHA-256 of its release.json: {check.sha256}")
    for note in check.notes:
        print(f"note: {note}")
    print_problems(check.problems)
    print(f"{len(check.problems)} problems" if check.problems else "every file is what it should be")
    return FAILED if check.problems else DONE


if __name__ == "__main__":
    run_job(main)
