"""Audits of a small release, and images that no release has."""

import pytest

from pipeline.audit.config import AuditConfig
from pipeline.audit.folder import RELEASE_PLACE
from pipeline.audit.plan import PLAN, make_plan
from pipeline.audit.released import read_audited


@pytest.fixture
def audit(audited_release, tmp_path):
    """The folder of an audit of five images, each of which one of two raters judges."""
    folder = tmp_path / "audit"
    folder.mkdir()
    plan = make_plan(read_audited(str(audited_release)), AuditConfig(images=5, overlap=0))
    (folder / PLAN).write_bytes(plan.encode())
    (folder / RELEASE_PLACE).write_text(str(audited_release))
    return folder
