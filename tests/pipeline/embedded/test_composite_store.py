"""Composites on disk: parts that are whole, a recipe that comes last, and folders that never mix."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.embedded import composite_store
from pipeline.embedded.composite_store import Request, claim, describe, draw_preview, plan_parts, write_composites
from pipeline.embedded.composites import make_composite
from pipeline.errors import RunMismatchError
from pipeline.files import storage

PX = 32
ROOT = Path(__file__).resolve().parents[3]

SLOW_JOB = """
import sys
from pathlib import Path
import numpy as np
from pipeline.embedded.composite_store import Request, write_composites
from pipeline.embedded.material import Group, Material, Source
from pipeline.progress.lines import LogLines
from pipeline.progress.stages import shown_by

if __name__ == "__main__":
    source = Source(name="a", registry="pip", package="a", version="1", kind="cutout", taken="", files=".",
                    licence="CC0-1.0", permissive=True)
    group = Group(source=source, archive="a.zip", sha256="0", pictures=(np.full((40, 40, 4), 255, np.uint8),))
    request = Request(count=100000, seed=0, px=32)
    with LogLines(print, lambda line: print(line, flush=True)) as shown, shown_by(shown):
        write_composites(Material(groups=(group,)), request, Path(sys.argv[1]), 1)
"""


def make_request(count=1, **overrides):
    return Request(**({"count": count, "seed": 0, "px": PX} | overrides))


def parts_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


def children_of(process):
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_parts_cover_every_index_once(tmp_path, monkeypatch):
    monkeypatch.setattr(composite_store, "PART_SAMPLES", 4)
    parts = plan_parts(make_request(10), tmp_path)
    assert [index for part in parts for index in range(part.first, part.first + part.samples)] == list(range(10))


def test_writing_again_keeps_what_is_there_and_makes_what_is_missing(material, tmp_path, monkeypatch, told):
    monkeypatch.setattr(composite_store, "PART_SAMPLES", 3)
    write_composites(material, make_request(7), tmp_path, 2)
    before = parts_of(tmp_path)
    assert sorted(before)[:2] == ["part-00000.images.npy", "part-00000.masks.npy"]
    assert len(told.lines) == 3
    (tmp_path / "part-00001.masks.npy").unlink()
    write_composites(material, make_request(7), tmp_path, 1)
    assert len(told.lines) == 4
    assert parts_of(tmp_path) == before
    images, masks = (np.load(tmp_path / f"part-00002.{kind}.npy", allow_pickle=False) for kind in ("images", "masks"))
    assert (images.shape, masks.shape) == ((1, PX, PX, 3), (1, PX, PX))
    assert np.array_equal(images[0], make_composite(material, 0, 6, PX)[0])


def test_a_larger_count_completes_the_last_part(material, tmp_path, monkeypatch):
    monkeypatch.setattr(composite_store, "PART_SAMPLES", 3)
    for count in (2, 3):
        write_composites(material, make_request(count), tmp_path, 1)
        assert len(np.load(tmp_path / "part-00000.masks.npy", allow_pickle=False)) == count


def test_nothing_is_forked(material, tmp_path, monkeypatch):
    """A forked copy of a process with threads can deadlock."""

    def refuse():
        raise AssertionError("forked")

    monkeypatch.setattr(os, "fork", refuse)
    write_composites(material, make_request(), tmp_path, 1)
    assert (tmp_path / "recipe.json").is_file()


def test_a_request_can_be_checked_without_beginning_anything(tmp_path):
    claim(tmp_path, {"seed": 0, "px": PX}, begin=False)
    assert list(tmp_path.iterdir()) == []
    claim(tmp_path, {"seed": 0, "px": PX, "sources": []})
    claim(tmp_path, {"seed": 0, "px": PX}, begin=False)
    with pytest.raises(RunMismatchError, match="seed"):
        claim(tmp_path, {"seed": 1, "px": PX}, begin=False)


@pytest.mark.parametrize(("field", "value"), [("seed", 1), ("px", 48)])
def test_a_folder_begun_with_another_request_is_refused(material, tmp_path, monkeypatch, field, value):
    monkeypatch.setattr(composite_store, "_write_parts", lambda *_: None)
    write_composites(material, make_request(), tmp_path, 1)
    with pytest.raises(RunMismatchError, match=rf"  {field}: made with \d+, requested {value}\n"):
        write_composites(material, make_request(**{field: value}), tmp_path, 1)


def test_a_folder_begun_with_other_material_is_refused(material, make_material, tmp_path, monkeypatch):
    monkeypatch.setattr(composite_store, "_write_parts", lambda *_: None)
    write_composites(material, make_request(), tmp_path, 1)
    with pytest.raises(RunMismatchError, match=r"sources\.2\.\w+: made with .*, requested None"):
        write_composites(make_material("photo"), make_request(), tmp_path, 1)


def test_a_failed_write_leaves_neither_part_nor_recipe(material, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_composites(material, make_request(), tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_a_worker_is_raised_and_leaves_no_recipe(material, make_group, tmp_path):
    broken = type(material)(groups=(make_group("cutout", np.zeros((4, 4, 7), np.uint8)),))
    with pytest.raises(TypeError, match="data type"):
        write_composites(broken, make_request(), tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["request.json"]


def test_the_recipe_tells_sources_and_licences(material, tmp_path, monkeypatch):
    monkeypatch.setattr(composite_store, "_write_parts", lambda *_: None)
    recipe = write_composites(material, make_request(), tmp_path, 1)
    assert json.loads((tmp_path / "recipe.json").read_text()) == recipe == describe(material, make_request())
    assert recipe["sources"][0] | {"licence": "CC0-1.0", "used": 1, "sha256": "0" * 64} == recipe["sources"][0]


def test_a_part_is_never_read_as_a_pickle(material, tmp_path, malice):
    for path in (tmp_path / "part-00000.images.npy", tmp_path / "part-00000.masks.npy"):
        path.write_bytes(pickle.dumps(malice(tmp_path / "touched")))
    with pytest.raises(ValueError, match="pickled"):
        write_composites(material, make_request(), tmp_path, 1)
    assert not (tmp_path / "touched").exists()


def test_a_preview_shows_composites_beside_their_masks(material):
    sheet = np.asarray(draw_preview(material, 0, PX))
    image, mask = make_composite(material, 0, 7, PX)
    assert sheet.shape == (8 * PX, 12 * PX, 3)
    assert np.array_equal(sheet[PX : 2 * PX, 2 * PX : 3 * PX], image)
    assert np.array_equal(sheet[PX : 2 * PX, 3 * PX : 4 * PX, 0], mask)


@pytest.fixture
def slow_job(tmp_path):
    """A process that writes composites, after its first part; and its workers."""
    (tmp_path / "slow_job.py").write_text(SLOW_JOB)
    job = subprocess.Popen(
        [sys.executable, tmp_path / "slow_job.py", tmp_path / "out"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with job:
        assert job.stdout.readline() == "part-00000.masks.npy (1 of 200 parts)\n"
        yield job
        job.kill()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_workers_end_when_their_parent_is_killed(slow_job):
    workers = children_of(slow_job.pid)
    assert len(workers) >= 1
    os.kill(slow_job.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(is_running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(worker) for worker in workers)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_a_killed_worker_ends_the_job_with_a_hint(slow_job):
    for worker in children_of(slow_job.pid):
        os.kill(worker, signal.SIGKILL)
    assert "fewer --workers need less memory" in slow_job.communicate(timeout=60)[1]
    assert slow_job.returncode == 1
