"""What several tests of the pipeline need around them."""

import os

import pytest


@pytest.fixture(scope="module")
def fast_disk():
    """Power cuts are not simulated: every run would wait for the disk some thirty times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def disk_events(monkeypatch):
    """("named", path) and ("synced", path), in order."""
    found = []

    def naming(name, target):
        change = getattr(os, name)

        def call(*paths, **options):
            change(*paths, **options)
            found.append(("named", os.path.abspath(os.fspath(paths[target]))))

        monkeypatch.setattr(os, name, call)

    for name, target in (("link", 1), ("rename", 1), ("replace", 1), ("mkdir", 0)):
        naming(name, target)

    def fsync(descriptor):
        found.append(("synced", os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", fsync)
    return found
