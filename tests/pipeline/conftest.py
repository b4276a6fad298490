"""What several tests of the pipeline need around them."""

import os

import pytest


@pytest.fixture(scope="module")
def fast_disk():
    """Power cuts are not simulated: every run would wait for the disk some thirty times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
