"""The cores that a photo may be computed on."""

import os

import psutil
import pytest

from model.api import cores
from model.api.cores import usable_cores


@pytest.mark.parametrize(
    ("ours", "physical", "share", "usable"),
    [
        (8, 8, "max 100000", 8),
        (8, 4, "max 100000", 4),  # two threads a core
        (2, 4, "max 100000", 2),  # taskset
        (64, 32, "150000 100000", 2),  # docker run --cpus 1.5
        (64, None, "50000 100000", 1),
        (4, 4, None, 4),
        (4, 4, "nonsense", 4),
    ],
)
def test_the_least_of_what_may_be_used_counts(tmp_path, monkeypatch, ours, physical, share, usable):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(ours)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: physical)
    monkeypatch.setattr(cores, "_CONTAINER", tmp_path)
    if share is not None:
        (tmp_path / "cpu.max").write_text(f"{share}\n")
    assert usable_cores() == usable


def test_where_the_system_tells_no_affinity_all_cores_count(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None)
    monkeypatch.setattr(cores, "_CONTAINER", tmp_path)
    assert usable_cores() == 1
