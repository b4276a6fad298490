"""Nodes that can't do the work: set aside by name while others go on; or, if it is all of them, refused at once."""

import shutil

import pytest

from model.config import EMBEDDED_MODEL
from tests.cluster.machines import DISK
from tests.cluster.runs import SLEEP_S, assert_whole, rows_of, written_by
from tests.pipeline.make import make_collection

DATA = DISK / "data"


def assert_set_aside(job, node, reason):
    """It is said once, in one line, with the reason."""
    (line,) = [line for line in job.logs().splitlines() if f"node {node.name} is set aside" in line]
    assert reason in line


def test_broken_first(lab, collection, undisturbed, out):
    """a node without CUDA is the first: it is set aside by name"""
    bad, _ = lab.have(2)
    bad.is_spoiled = True
    bad.file(DISK / "broken").touch()
    job = lab.submit(out, *collection.options(f"fake:sleep_s=0.1,broken_if={DISK}/broken"))
    job.ends("SUCCEEDED")
    assert_set_aside(job, bad, "ECC error")
    assert_whole(out, undisturbed)


def test_broken_later(lab, collection, undisturbed, out, fault):
    """a GPU has an ECC error in the middle of the work"""
    bad, _ = lab.have(2)
    bad.is_spoiled = True
    job = lab.submit(out, *collection.options(f"fake:sleep_s={SLEEP_S},broken_if={DISK}/broken"))
    fault.wait_for_commits(3)
    bad.file(DISK / "broken").touch()
    fault.now()
    job.ends("SUCCEEDED")
    fault.after(job, 1)
    assert_set_aside(job, bad, "ECC error")
    assert_whole(out, undisturbed)


def test_all_broken(lab, collection, out):
    """all nodes are broken: the run ends, and says why of each"""
    nodes = lab.have(2)
    for node in nodes:
        node.is_spoiled = True
        node.file(DISK / "broken").touch()
    job = lab.submit(out, *collection.options(f"fake:broken_if={DISK}/broken"))
    job.ends("FAILED", 200)
    assert "ECC error" in job.logs()
    assert "Traceback" not in job.logs()
    assert all(node.name in job.logs() for node in nodes)


def test_empty_folder(lab, collection, images_on_disk, undisturbed, out):
    """a node has an empty folder where the images should be"""
    good, bad = lab.have(2)
    good.is_spoiled = bad.is_spoiled = True
    for machine in (lab.head, good):
        shutil.copytree(images_on_disk, machine.file(DATA / "images"), dirs_exist_ok=True)
    bad.file(DATA / "images").mkdir(parents=True)
    job = lab.submit(out, *collection.at(DATA / "images").options("fake:sleep_s=0.1"))
    job.ends("SUCCEEDED")
    assert bad.name in job.logs()
    assert_whole(out, undisturbed)


def test_other_weights(lab, few, out):
    """a node has other weights at the same path"""
    good, bad = lab.have(2)
    good.is_spoiled = bad.is_spoiled = True
    for machine in (lab.head, good, bad):
        shutil.copytree(EMBEDDED_MODEL, machine.file(DATA / "model"), dirs_exist_ok=True)
    weights = max(bad.file(DATA / "model").rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    job = lab.submit(out, *few.options(DATA / "model"), "--denoise-steps", 2)
    job.ends("SUCCEEDED")
    assert bad.name in job.logs()
    assert len(rows_of(out)) == few.count


@pytest.mark.parametrize("what", ["images", "zip", "out"])
def test_head_alone(lab, few, tmp_path, out, what):
    """images, zip or --out on the head's disk only: refused at once, in one table"""
    nodes = lab.have(2)
    inputs = make_collection(tmp_path / "in", few.count)
    place = DATA / f"alone-{what}"
    lab.head.file(DATA).mkdir(exist_ok=True)
    if what == "zip":
        shutil.make_archive(lab.head.file(place), "zip", inputs.images)
    elif what == "images":
        shutil.copytree(inputs.images, lab.head.file(place))
    there = {"zip": f"{place}.zip", "images": str(place)}.get(what)
    given = few.at(there) if there else few
    job = lab.submit(place if what == "out" else out, *given.options("fake"))
    job.ends("FAILED", 200)
    logs = job.logs()
    assert job.exit_code() == 2, logs
    assert "Traceback" not in logs
    assert all(node.name in logs for node in nodes), logs
    assert written_by(out) == 0
    assert not lab.head.file(place / "commits").exists()


def test_model_of_head(lab, few, out):
    """a model on the head's disk only: it is fetched from there"""
    lab.have(2)
    shutil.copytree(EMBEDDED_MODEL, lab.head.file(DATA / "head-model"), dirs_exist_ok=True)
    job = lab.submit(out, *few.options(DATA / "head-model"), "--denoise-steps", 2)
    job.ends("SUCCEEDED")
    assert len(rows_of(out)) == few.count
