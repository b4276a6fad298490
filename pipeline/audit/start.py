"""Starts an audit: draws the sample, says what it can prove, and writes the folder in which people judge it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.audit.config import AuditConfig
from pipeline.audit.folder import RELEASE_PLACE
from pipeline.audit.page.bundle import require_photos, write_pages
from pipeline.audit.plan import PLAN, AuditPlan, make_plan, read_plan
from pipeline.audit.proofs.advice import require_possible
from pipeline.audit.proofs.prospects import what_n_proves
from pipeline.audit.released import AuditedRelease, read_audited
from pipeline.collection.config import InputConfig
from pipeline.collection.gather import read_described_annotations
from pipeline.collection.instances import Instance, read_instances
from pipeline.errors import ConfigError, ReleaseExistsError
from pipeline.files import local_disk, urls
from pipeline.made_with import differences, refusal
from pipeline.preconditions import require_outside, require_target
from pipeline.progress.stages import say, stage
from pipeline.release.opened import masks_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An audit that was started; in a dry run, one that could be."""

    audit: str
    """Its folder."""
    page: str
    """The page on which raters judge; "" in a dry run."""
    plan: str
    """SHA-256 of the plan."""
    release: str
    """SHA-256 of the release's `release.json`."""
    population: int
    """Accepted images of the release."""
    images: int
    """Images drawn."""
    judgements: int
    """Answers that are needed: images, and again those that two raters judge."""


def start_audit(
    release: str,
    out: str,
    config: AuditConfig,
    *,
    annotations: str = "",
    dry_run: bool = False,
) -> Started:
    """Plan an audit, print what it can prove, and write its folder. Run it again to finish one that was interrupted.

    Args:   out: the new folder; "": NAME-VERSION-audit in the working folder.
            annotations: COCO annotation JSON of the images; the page then offers its instances as masks.
    Raises: CollectionError, AnnotationError: there is no release, or no such annotations. ConfigError: the options do
            not fit the release, or nothing can be written there. ReleaseExistsError: the folder has something else.
            All are raised before anything is written.
    """
    with stage("reading the release"):
        audited = read_audited(urls.absolute(release))
    plan = make_plan(audited, config)
    require_possible(config)
    require_photos(audited)
    path = Path(out or f"{plan.name}-{plan.version}-audit").absolute()
    require_outside(str(path), audited.folder, "--out")
    _require_free(path, plan)
    require_target(path, "--out")
    instances = _instances(annotations, audited, plan) if annotations else {}
    judgements = sum(len(image.raters) for image in plan.sample)
    say(f"{audited.title} has {plan.population} accepted images; its digest draws {len(plan.sample)} of them")
    with stage("computing what the sample can prove"):
        proved = list(what_n_proves(plan))
    for line in proved:
        say(line)
    if not dry_run and not (path / PLAN).is_file():
        _write(path, plan, audited, instances)
    return Started(
        audit=str(path),
        page="" if dry_run else str(path / "index.html"),
        plan=plan.digest,
        release=audited.sha256,
        population=plan.population,
        images=len(plan.sample),
        judgements=judgements,
    )


def _require_free(path: Path, plan: AuditPlan) -> None:
    """Check that the folder is new, or of the same plan."""
    there = path / PLAN
    if there.is_file():
        if there.read_bytes() != plan.encode():
            found = differences(_stated(read_plan(path)), _stated(plan))
            raise ReleaseExistsError(refusal(f"{path} has another audit", found, "Give another --out"))
    elif path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ReleaseExistsError(f"{path} is there, and is not the folder of an audit: give another --out")


def _stated(plan: AuditPlan) -> dict[str, Any]:
    """What a plan follows from."""
    return {"release": f"{plan.name} {plan.version}, {plan.sha256}", **asdict(plan.config)}


def _write(
    path: Path,
    plan: AuditPlan,
    audited: AuditedRelease,
    instances: Mapping[str, Sequence[Instance]],
) -> None:
    """Write the folder; it gets its name when it is whole, and an interrupted start leaves nothing."""
    local_disk.make_folders(path.parent)
    unfinished = path.with_name(local_disk.unfinished_name(path.name))
    unfinished.mkdir()
    try:
        with stage("reading the masks of the sample"):
            masks = masks_in(audited, (image.key for image in plan.sample))
        write_pages(unfinished, plan, audited, masks, instances)
        (unfinished / RELEASE_PLACE).write_text(f"{audited.folder}\n", encoding="utf-8")
        (unfinished / PLAN).write_bytes(plan.encode())
        local_disk.rename_folder(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _instances(annotations: str, audited: AuditedRelease, plan: AuditPlan) -> Mapping[str, Sequence[Instance]]:
    """Key → the instances of each drawn image."""
    collection = read_described_annotations(InputConfig(images="", annotations=annotations))
    wanted = {image.key for image in plan.sample}
    samples = [sample for sample in collection.samples if sample.key in wanted]
    if not samples:
        raise ConfigError(f"--annotations {annotations} has none of the drawn images")
    for sample in samples:  # outlines of another size would lie elsewhere
        row = audited.rows[sample.key]
        if (sample.width, sample.height) != (row["width"], row["height"]):
            raise ConfigError(f"--annotations {annotations} has another size of {sample.key} than the release")
    return read_instances(annotations, samples).of
