"""A release of five accepted images, and audits of it in which both raters judge all of them."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.audit.config import AuditConfig
from pipeline.audit.folder import RELEASE_PLACE, Audit, open_audit
from pipeline.audit.page.bundle import write_pages
from pipeline.audit.plan import PLAN, make_plan
from pipeline.audit.released import read_audited
from pipeline.collection.instances import Instance
from pipeline.release.opened import masks_in
from pipeline.run import run
from tests.pipeline.make import make_collection, make_config, write_annotations

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Prepared:
    """An audit with its page."""

    audit: Audit

    @property
    def path(self):
        return self.audit.path

    def tasks(self, rater="rater-1"):
        return self.audit.plan.tasks_of(rater)


@pytest.fixture(scope="session")
def audited_release(tmp_path_factory):
    """The folder of a release whose images have hostile names: 2, 4, 6, 8 and 10 are accepted."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    for entry in inputs.entries:
        name = f"<img src=x onerror=alert({entry['id']})>.jpg"
        (inputs.images / entry["file_name"]).rename(inputs.images / name)
        entry["file_name"] = name
    write_annotations(inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        return Path(run(make_config(inputs, tmp_path_factory.mktemp("released"))).release)


def prepare_audit(folder, release, instances=None, **options):
    """An audit of a release with its page, in a new folder."""
    audited = read_audited(str(release))
    plan = make_plan(audited, AuditConfig(**{"images": 5, "overlap": 1, **options}))
    folder.mkdir(parents=True)
    (folder / PLAN).write_bytes(plan.encode())
    (folder / RELEASE_PLACE).write_text(str(release))
    masks = masks_in(audited, (image.key for image in plan.sample))
    write_pages(folder, plan, audited, masks, instances)
    return Prepared(audit=open_audit(folder))


@pytest.fixture
def prepared(tmp_path, audited_release):
    """A function that makes an audit."""

    def make(name="audit", **options):
        return prepare_audit(tmp_path / name, audited_release, **options)

    return make


@pytest.fixture(scope="session")
def hostile_instances(audited_release):
    """One thing with a hostile label in every image."""
    audited = read_audited(str(audited_release))
    masks = masks_in(audited, audited.rows)
    return {key: [Instance(category=HOSTILE, supercategory="", counts=rle["counts"])] for key, rle in masks.items()}
