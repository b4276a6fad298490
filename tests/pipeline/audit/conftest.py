"""A release of five accepted images, which the tests of audits only read."""

import os
from pathlib import Path

import pytest

from pipeline.run import run
from tests.pipeline.make import make_collection, make_config


@pytest.fixture(scope="session")
def audited_release(tmp_path_factory):
    """The folder of a release whose images 2, 4, 6, 8 and 10 are accepted."""
    inputs = make_collection(tmp_path_factory.mktemp("inputs") / "in", 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        return Path(run(make_config(inputs, tmp_path_factory.mktemp("released"))).release)
