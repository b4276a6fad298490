"""Releases: `build` makes one from a run, `sign` signs it, `push` publishes it, `export` copies it for other tools."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

sys.path[0] = str(Path(__file__).resolve().parents[1])

import tyro

from jobs.ahead import begun, command, next_steps
from jobs.command_line import DONE, answer, parse_config, report, run_commands, run_job
from jobs.commands import COMMANDS
from pipeline.config import ClusterConfig, ReleaseConfig, RunConfig
from pipeline.selection.policy import PolicyConfig
from pipeline.selection.recommended import with_bounds

if TYPE_CHECKING:
    from pipeline.collection.collection import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """Make a release from a complete run, in minutes and without a model. Each policy can have its own release.

    Options that you leave out have their defaults, not the values of the run's own release.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run; a path or an fsspec URL."""
    policy: str = ""
    """TOML file with any of these options (underscores for dashes); the command line wins."""
    images: str = ""
    """Folder or zip of the images, if it has moved since the run."""
    annotations: str = ""
    """COCO annotation JSON, if it has moved since the run."""
    metadata: str = ""
    """Table of licences, authors and sources, if it has moved since the run."""
    engine: Literal["ray", "inline"] = "ray"
    """`ray`: tasks on a Ray cluster (RAY_ADDRESS, or one started here) if the release has work for several.
    `inline`: this process alone. The result is the same either way."""
    dry_run: bool = False
    """Write nothing. Report how many images would be accepted, rejected and failed, by reason, and about how large the
    release would be."""
    selection: PolicyConfig = field(default_factory=PolicyConfig)
    release: ReleaseConfig = field(default_factory=ReleaseConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignConfig:
    """Check a release, and sign it and every annex that has no signature yet, with OpenSSH's ssh-keygen.

    A signature lies beside what it signs, as release.json.sig and annex/1/annex.json.sig. None is ever replaced.
    """

    release: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RELEASE")]
    """Folder of the release; a path or an fsspec URL."""
    key: str
    """Private key, for example from: ssh-keygen -t ed25519 -f KEY. Or KEY.pub, if ssh-agent has the private half. If
    the key has a passphrase, ssh-keygen asks for it at the terminal. Publish KEY.pub; it is all that others need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConfig:
    """Check a release, copy it to a folder, a bucket or the Hugging Face Hub, check the copy, and make it visible.

    Its annexes and signatures are sent too, or added to a version that was published before. Run the same command again
    to resume an upload that ended early. What is published is never changed.
    """

    release: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RELEASE")]
    """Folder of the release; a path or an fsspec URL."""
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")]
    """Folder of all releases, for example s3://bucket/folder; its file LATEST names the newest. Or
    hf://datasets/ORG/NAME, whose main branch is the newest, with a tag for each version."""
    loaders: bool = True
    """Check that webdataset, datasets, pycocotools and mlcroissant load the release: seconds, or minutes for a large
    one."""
    dry_run: bool = False
    """Change nothing. Check the release, then list every operation with its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Copy the accepted images of a release into a new folder, in a layout that other tools read.

    Licences travel along. An export that is interrupted leaves nothing.
    """

    release: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RELEASE")]
    """Folder of the release; a path or an fsspec URL."""
    layout: Literal["sod", "coco", "yolo", "hf-parquet", "fiftyone"]
    """`sod`: Image/KEY.jpg, GT/KEY.png and splits/SPLIT.txt, for toolboxes of the field. `coco`: SPLIT/KEY.jpg and
    annotations/instances_SPLIT.json. `yolo`: images/, labels/ with polygons of class 0, and data.yaml. `hf-parquet`:
    parquet with columns image, mask, maps and scores, for load_dataset. `fiftyone`: pictures, samples.json, and a
    script that makes a dataset of them."""
    out: Path
    """The new folder, on this machine."""


def main() -> int:
    """Run the command that the first argument names."""
    commands = {"build": build, "sign": sign, "push": push, "export": export}
    return run_commands("publish_release", commands)


def build(arguments: Sequence[str]) -> int:
    """Make a release, and print one JSON line on stdout that says what it holds."""
    config = parse_config(BuildConfig, arguments, COMMANDS["release build"])
    with begun(f"building {config.release.name} {config.release.version} from {config.run}"):
        from pipeline.collection.gather import read_described_annotations
        from pipeline.collection.kept import Kept
        from pipeline.release.build import build_release, complete_run, source_of
        from pipeline.release.preflight import refuse_taken_version, refuse_unbuildable
        from pipeline.release.sources import with_model
        from pipeline.replicas.signals import waiting_for_storage
        from pipeline.run import read_inputs, resolved
        from pipeline.runs.inputs import remembered_bounds, remembered_inputs, remembered_model, require_whole
        from pipeline.runs.locking import locked

    inputs = remembered_inputs(config.run)
    inputs = replace(
        inputs,
        images=config.images or inputs.images,
        annotations=config.annotations or inputs.annotations,
        metadata=config.metadata or inputs.metadata,
    )
    # Masks alone need no images, if annotations list them.
    needs_images = config.release.embed_images or not inputs.annotations
    images = {"images": inputs.images} if needs_images else {}
    require_whole(config.run, annotations=inputs.annotations, metadata=inputs.metadata, **images)
    cluster = ClusterConfig(engine=config.engine)
    release = with_model(config.release, remembered_model(config.run))
    policy = with_bounds(config.selection, remembered_bounds(config.run))
    of_run = resolved(RunConfig(out=config.run, input=inputs, policy=policy, release=release, cluster=cluster))
    collection = read_inputs(of_run, Kept(of_run.out)) if needs_images else read_described_annotations(of_run.input)
    refuse_unbuildable(of_run, collection)
    if config.dry_run:
        return print_build_forecast(of_run, collection)
    # Meanwhile no session changes candidates or makes the same release.
    with locked(of_run.out) as lease, waiting_for_storage(cluster.storage_patience_s):
        specs, made_with = complete_run(of_run.out, collection)
        refuse_taken_version(of_run, collection, made_with, retries=False)
        built = build_release(source_of(of_run, collection, specs), of_run, made_with, lease.confirm)
    report(f"{built.accepted} of {built.images} images are in {built.release}")
    next_steps(
        f"open {built.page}",
        f"verify with: {command('release verify', built.release)}",
        f"publish with: {command('release push', built.release)} TARGET",
    )
    answer(asdict(built))
    return DONE


def print_build_forecast(of_run: RunConfig, collection: "Collection") -> int:
    """Print what a build would accept: counts on stderr, one JSON line on stdout."""
    from pipeline.release.accepting import forecast_release
    from pipeline.release.build import complete_run, source_of
    from pipeline.release.preflight import refuse_taken_version

    specs, made_with = complete_run(of_run.out, collection)
    refuse_taken_version(of_run, collection, made_with, retries=False)
    found = forecast_release(source_of(of_run, collection, specs), of_run)
    report(f"{found.accepted} of {found.images} images would be accepted")
    for decision, reasons in (("rejected", found.rejected), ("failed", found.failed)):
        for reason, images in sorted(reasons.items(), key=lambda item: -item[1]):
            report(f"{decision}: {reason}: {images}")
    report(f"version {found.version}, tars of about {found.tar_bytes / 1e6:.1f} MB, in {found.release}")
    report("dry run: nothing was written")
    answer(asdict(found))
    return DONE


def sign(arguments: Sequence[str]) -> int:
    """Sign a release, and print one JSON line on stdout that says what was signed."""
    config = parse_config(SignConfig, arguments, COMMANDS["release sign"])
    with begun(f"signing {config.release}"):
        from pipeline.files import urls
        from pipeline.preconditions import require_there
        from pipeline.release.signature import require_key, require_tool

        require_there(urls.absolute(config.release), "RELEASE")
        require_tool()
        require_key(urls.absolute(config.key))
        from pipeline.release.publish.sign import sign_release

    signed = sign_release(urls.absolute(config.release), urls.absolute(config.key))
    report(f"signed with the {signed.key}: {', '.join(signed.signed) or 'nothing, as everything had a signature'}")
    next_steps(f"publish with: {command('release push', config.release)} TARGET")
    answer(asdict(signed))
    return DONE


def push(arguments: Sequence[str]) -> int:
    """Publish a release, and print one JSON line on stdout that says what was sent."""
    config = parse_config(PushConfig, arguments, COMMANDS["release push"])
    with begun(f"publishing {config.release} to {config.target}"):
        from pipeline.files import urls
        from pipeline.preconditions import require_place, require_there
        from pipeline.release.publish.login import HUB, require_login

        release, target = urls.absolute(config.release), urls.absolute(config.target)
        for place in (release, target):  # before the release is checked, which takes a while
            urls.resolve(place)
        require_there(release, "RELEASE")
        require_login(target)
        if not (config.dry_run or target.startswith(HUB)):
            require_place(target, "TARGET")
        from pipeline.release.publish.push import push_release

    pushed = push_release(release, target, dry_run=config.dry_run, loaders=config.loaders)
    for operation in pushed.operations if config.dry_run else ():
        report(operation)
    verb = "would be sent" if config.dry_run else "sent"
    report(f"{len(pushed.sent)} files, {pushed.sent_bytes} bytes {verb}; {len(pushed.there)} existed already")
    if not config.dry_run:
        next_steps(*_after_push(pushed.target))
    answer(asdict(pushed))
    return DONE


def export(arguments: Sequence[str]) -> int:
    """Export a release, and print one JSON line on stdout that says what was written."""
    config = parse_config(ExportConfig, arguments, COMMANDS["release export"])
    with begun(f"exporting {config.release} as {config.layout} to {config.out}"):
        from pipeline.files import urls
        from pipeline.preconditions import require_there

        require_there(urls.absolute(config.release), "RELEASE")
        from pipeline.release.export.export import export_release

    exported = export_release(urls.absolute(config.release), config.layout, config.out)
    report(f"{exported.images} images, {exported.files} files, {exported.file_bytes} bytes are in {exported.out}")
    answer(asdict(exported))
    return DONE


def _after_push(target: str) -> list[str]:
    """What people can do with a published release."""
    from pipeline.release.publish.login import DATASETS

    if target.startswith(DATASETS):
        name, _, tag = target.removeprefix(DATASETS).partition("@")
        return [f"open https://huggingface.co/datasets/{name}/tree/{tag}"]
    return [f"verify the copy with: {command('release verify', target)}"]


if __name__ == "__main__":
    run_job(main)
