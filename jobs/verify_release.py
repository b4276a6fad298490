"""Check a release as a suspicious stranger would; Arguments lists the options."""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.ahead import begun
from jobs.command_line import DONE, FAILED, answer, parse_config, print_problems, run_job, wants_json
from jobs.commands import COMMANDS

if TYPE_CHECKING:
    from pipeline.release.check.verify import ReleaseCheck

NOT_ALL_CHECKED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Read every byte of a release and compare sums, manifest, masks, run lengths, licences, card and page. Then load
    it with the libraries of its users, and compute its certificates again from the answers.

    Exit codes: 0 nothing is wrong, 1 something is wrong, 2 there is no complete release or the annotations are
    unreadable, so nothing was checked, 4 nothing was found wrong, but not everything was checked.
    """

    release: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RELEASE")]  # folder or URL
    annotations: str = ""  # COCO annotation JSON of the images, to compare ids, names, sizes and licences with
    metadata: str = ""  # the run's table of licences, authors and sources, if it had one besides annotations
    run: str = ""  # folder or URL of the run it was made from, to compare maps, images and scores with
    signer: str = ""  # public key, or file of allowed signers, to check who signed the release and its annexes
    loaders: bool = True  # load it with webdataset, datasets, pycocotools and mlcroissant, each in its own process


def main() -> int:
    """Check the release, and print what is wrong."""
    arguments = parse_config(Arguments, sys.argv[1:], COMMANDS["release verify"])
    with begun(f"checking {arguments.release}"):
        from pipeline.files import urls

        release = urls.absolute(arguments.release)
        check_places(arguments)
        from pipeline.audit.check import check_certificates
        from pipeline.release.check.verify import verify_release

    check = verify_release(
        release,
        arguments.annotations,
        metadata=arguments.metadata,
        run=arguments.run,
        signer=arguments.signer,
        loaders=arguments.loaders,
    )
    certified = check_certificates(release, [annex.number for annex in check.annexes])
    check = replace(
        check,
        problems=(*check.problems, *certified.problems),
        unchecked=(*check.unchecked, *certified.unchecked),
        notes=(*check.notes, *certified.notes),
    )
    if wants_json():
        answer({**asdict(check), "certificates": [asdict(one) for one in certified.certificates]})
        return _exit_code(check)
    print(f"{check.name} {check.version}: {check.accepted} samples, {check.images} rows in the manifest")
    print(f"SHA-256 of release.json: {check.sha256}")
    for annex in check.annexes:
        print(f"SHA-256 of annex/{annex.number}/annex.json: {annex.sha256}")
    for one in certified.certificates:
        print(f"certificate {one.number}{'' if one.is_sound else ', which has problems'}: {one.sentence}")
    for note in check.notes:
        print(f"note: {note}")
    if check.unchecked:
        print(f"not checked: {len(check.unchecked)}")
        print_problems(check.unchecked)
    print_problems(check.problems)
    if check.problems:
        print(f"problems: {len(check.problems)}")
    elif check.unchecked:
        print(f"nothing was found wrong, but not everything was checked: {len(check.unchecked)}")
    else:
        print("every file is as it should be")
    return _exit_code(check)


def check_places(arguments: Arguments) -> None:
    """Refuse what is not there before the libraries of the check are loaded.

    Raises: CollectionError: a given path does not exist. UsageError: the signer is no public key.
    """
    from pipeline.preconditions import require_there
    from pipeline.release.signature import read_signers

    for option in ("release", "annotations", "metadata", "run"):
        if place := getattr(arguments, option):
            require_there(place, "RELEASE" if option == "release" else f"--{option}")
    if arguments.signer:
        read_signers(arguments.signer)


def _exit_code(check: "ReleaseCheck") -> int:
    if check.problems:
        return FAILED
    return NOT_ALL_CHECKED if check.unchecked else DONE


if __name__ == "__main__":
    run_job(main)
