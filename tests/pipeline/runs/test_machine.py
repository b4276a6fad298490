"""What a run is computed on: the first replica decides, and what differs is refused, or noted."""

import importlib.metadata
import json
import re
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import RunMismatchError, StorageError
from pipeline.files import storage
from pipeline.release.check.verify import verify_release
from pipeline.run import run
from pipeline.runs import machine
from pipeline.runs.check import verify_run
from pipeline.runs.machine import (
    LIBRARIES,
    instruction_set,
    library_versions,
    made_on,
    restore_machine,
    settle_machine,
    settled_machine,
)
from tests.pipeline.make import make_collection, make_config


def test_the_first_device_decides_and_others_of_its_kind_are_accepted(tmp_path):
    for _ in range(2):
        settle_machine(str(tmp_path), "cuda")
    assert settled_machine(str(tmp_path))["device"] == "cuda"


def test_a_plug_in_that_is_not_installed_has_no_version_and_what_has_to_be_there_must_be(monkeypatch):
    def version(name):
        if name == missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(machine, "_version", machine._version.__wrapped__)  # nothing that is remembered
    missing = "pillow-heif"
    assert library_versions() == {**dict.fromkeys(LIBRARIES, "1.2"), "pillow-heif": ""}
    missing = "torch"
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        library_versions()


def test_a_plug_in_that_was_installed_since_is_another_machine(tmp_path, monkeypatch):
    settle_machine(str(tmp_path), "cpu")
    versions = library_versions() | {"pillow-heif": "99"}
    monkeypatch.setattr(machine, "library_versions", lambda: versions)
    with pytest.raises(RunMismatchError, match=r"pillow-heif: made with .*, requested 99"):
        settle_machine(str(tmp_path), "cpu")


def test_a_release_from_before_plug_ins_were_named_restores_what_it_names(tmp_path):
    stated = {name: "1" for name in ("device", "instructions", *LIBRARIES) if not name.startswith("pillow-")}
    release = {"made_from": {"fingerprint": stated}}
    storage.publish(f"{tmp_path}/release/a-1.0.0/release.json", json.dumps(release).encode())
    assert restore_machine(str(tmp_path))
    assert settled_machine(str(tmp_path)) == stated


def test_another_kind_of_device_is_refused_with_both(tmp_path):
    settle_machine(str(tmp_path), "cuda")
    with pytest.raises(RunMismatchError, match=r"device: made with cuda, requested cpu\nGive --device cuda, accept"):
        settle_machine(str(tmp_path), "cpu")
    assert settled_machine(str(tmp_path))["device"] == "cuda"


def test_replicas_without_a_compiler_are_another_kind(tmp_path):
    settle_machine(str(tmp_path / "a"), "cpu")
    with pytest.raises(RunMismatchError, match="requested cpu without a compiler\nHave replicas with one only, accept"):
        settle_machine(str(tmp_path / "a"), "cpu without a compiler")
    settle_machine(str(tmp_path / "b"), "cpu without a compiler")
    with pytest.raises(RunMismatchError, match="requested cpu\nHave replicas without a compiler only, accept"):
        settle_machine(str(tmp_path / "b"), "cpu")


def test_when_replicas_begin_together_on_different_devices_one_kind_is_accepted(tmp_path):
    kinds = ["cpu", "cuda"] * 8
    gate, went_on = threading.Barrier(len(kinds)), []

    def begin(kind):
        gate.wait()
        try:
            settle_machine(str(tmp_path), kind)
        except RunMismatchError:
            return
        went_on.append(kind)

    threads = [threading.Thread(target=begin, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert went_on == [settled_machine(str(tmp_path))["device"]] * 8


def test_the_instruction_set_names_what_kernels_are_chosen_by():
    architecture, *extensions = instruction_set().split()
    flags = Path("/proc/cpuinfo").read_text().split()
    assert re.fullmatch(r"\w+", architecture)
    assert set(extensions) <= set(flags)
    assert ("avx2" in extensions) == ("avx2" in flags)


@pytest.mark.parametrize(("name", "value"), [("instructions", "another set"), ("pyarrow", "25.0.0"), ("torch", "1.0")])
def test_a_machine_that_differs_is_refused_by_name_or_noted_once(tmp_path, monkeypatch, name, value):
    out = str(tmp_path)
    settle_machine(out, "cpu")
    if name == "instructions":
        monkeypatch.setattr(machine, "instruction_set", lambda: value)
    else:
        others = {**machine.library_versions(), name: value}
        monkeypatch.setattr(machine, "library_versions", lambda: others)
    with pytest.raises(RunMismatchError, match=rf"{name}: made with .*, requested {value}\n.*--accept-mixed"):
        settle_machine(out, "cpu")
    assert "mixed" not in made_on(out)
    for _ in range(2):
        settle_machine(out, "cpu", accept_mixed=True)
    assert f"{name} {value} instead of " in made_on(out)["mixed"]
    assert len(storage.list_names(f"{out}/mixed")) == 1


def test_a_run_of_an_earlier_version_says_only_the_device(tmp_path):
    storage.publish(f"{tmp_path}/device.json", b'{"device": "cpu"}')
    settle_machine(str(tmp_path), "cpu")
    assert made_on(str(tmp_path)) == {"device": "cpu"}
    with pytest.raises(RunMismatchError, match="Give --device cpu"):
        settle_machine(str(tmp_path), "cuda")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"device": 1}', b"\xff", b"[" * 9999, b'{"device": ' + b"1" * 5000]
)
def test_a_damaged_device_json_is_named(tmp_path, content):
    with pytest.raises(StorageError, match=r"device\.json is missing"):
        settled_machine(str(tmp_path))
    storage.publish(f"{tmp_path}/device.json", content)
    with pytest.raises(StorageError, match=r"device\.json does not say what the run is computed on"):
        settled_machine(str(tmp_path))


def test_a_run_that_goes_on_with_another_library_says_so_in_manifest_and_card(tmp_path, monkeypatch):
    inputs = make_collection(tmp_path / "in", 3)
    more = make_collection(tmp_path / "more", 5)
    run(make_config(inputs, tmp_path / "out"))
    library_versions = machine.library_versions

    def others():
        return {**library_versions(), "pyarrow": "25.9"}

    monkeypatch.setattr(machine, "library_versions", others)
    monkeypatch.setattr("pipeline.runs.fingerprint.library_versions", others)
    with pytest.raises(RunMismatchError, match=r"pyarrow: made with .*, requested 25\.9\nInstall these versions"):
        run(make_config(more, tmp_path / "out", version="2.0.0"))
    report = run(make_config(more, tmp_path / "out", version="2.0.0", accept_mixed=True))
    assert report.computed == 2
    assert verify_run(str(tmp_path / "out")).problems == ()
    stated = json.loads(storage.read(f"{report.release}/release.json"))["made_from"]["fingerprint"]
    assert stated["mixed"].startswith("pyarrow 25.9 instead of ")
    assert "pyarrow 25.9 instead of" in storage.read(f"{report.release}/README.md").decode()
    manifest = pq.read_schema(f"{report.release}/manifest.parquet")
    assert manifest.metadata[b"mixed"].startswith(b"pyarrow 25.9 instead of ")
    assert verify_release(report.release).problems == ()
    again = run(make_config(more, tmp_path / "out", version="2.0.0", accept_mixed=True))
    assert (again.computed, again.release) == (0, report.release)


def test_without_a_device_json_a_run_with_committed_shards_is_not_continued(tmp_path):
    inputs = make_collection(tmp_path / "in", 5)
    config = make_config(inputs, tmp_path / "out")
    run(config)
    (tmp_path / "out/device.json").unlink()
    (tmp_path / "out/commits/000001.json").unlink()
    with pytest.raises(StorageError, match=r"device\.json is missing: sod run verify .* --repair"):
        run(config)
    assert not (tmp_path / "out/device.json").exists()
