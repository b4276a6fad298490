"""Audits of a small release, and images that no release has."""

import pytest

from pipeline.audit.config import AuditConfig
from pipeline.audit.folder import RELEASE_PLACE
from pipeline.audit.plan import PLAN, make_plan
from pipeline.audit.released import read_audited


def make_audit(release, folder, images=5):
    """The folder of an audit in which one of two raters judges each image."""
    folder.mkdir()
    plan = make_plan(read_audited(str(release)), AuditConfig(images=images, overlap=0))
    (folder / PLAN).write_bytes(plan.encode())
    (folder / RELEASE_PLACE).write_text(str(release))
    return folder


@pytest.fixture
def audit(audited_release, tmp_path):
    """An audit of five images."""
    return make_audit(audited_release, tmp_path / "audit")
