"""What a node lacks is found before any work, and shown in one table."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import EnsembleConfig, ModelConfig
from model.weights import weights_sha256
from pipeline.errors import ConfigError
from pipeline.files import storage
from pipeline.replicas import canary
from pipeline.replicas.canary import Finding, canary_request, lacking, look, no_answer, refuse_if_none, table
from pipeline.replicas.probes import take_probes
from pipeline.replicas.proof import REMEDY_OF_OUT, Expected
from pipeline.replicas.setup import ReplicaSetup
from pipeline.replicas.shard_work import ShardWork
from pipeline.replicas.weights import Weights
from pipeline.selection.policy import PolicyConfig
from tests.pipeline.make import make_collection, read_samples, tree

FINDINGS = st.builds(
    Finding,
    node=st.text("ab.0", min_size=1, max_size=6),
    lacks=st.dictionaries(st.text("xyz ", max_size=9), st.text("uvw ", max_size=9), max_size=3),
)


@pytest.fixture
def inputs(tmp_path):
    return make_collection(tmp_path / "in", 3)


def make_setup(inputs, out, weights=None, **expected):
    probes = take_probes(read_samples(inputs.annotations, inputs.images).samples, 1 << 20)
    work = ShardWork(run=str(out), batch_images=2, max_image_bytes=1 << 20, max_image_pixels=1 << 20, probes=probes)
    return ReplicaSetup(
        model=ModelConfig(model="fake"),
        ensemble=EnsembleConfig(),
        policy=PolicyConfig(),
        work=work,
        expected=Expected(fields=expected),
        weights=weights,
    )


@pytest.mark.parametrize("place", ["disk", "memory://canaries/run"])
def test_a_node_that_sees_everything_lacks_nothing_and_no_trace_is_left(inputs, tmp_path, place):
    out = str(tmp_path / "out") if place == "disk" else place
    with canary_request(make_setup(inputs, out)) as request:
        assert look(request, "n1") == Finding(node="n1")
        assert len(storage.list_names(out, hidden=True)) == 1
    assert storage.list_names(out, hidden=True) == []


def test_a_folder_of_the_same_path_on_another_disk_is_found_out(inputs, tmp_path):
    """What the node has there is not what the driver has there, so the driver's mark is missing."""
    out, shared = tmp_path / "out", tmp_path / "shared"
    with canary_request(make_setup(inputs, out)) as request:
        out.rename(shared)
        assert look(request, "n1").lacks == {f"--out {out}: there is no such folder": REMEDY_OF_OUT}
        assert not out.exists()
        out.mkdir()
        (lack,) = look(request, "n1").lacks
        assert "not the folder that the driver writes to" in lack
        assert tree(out) == {}
        (out / request.mark).write_bytes(b"another")
        (lack,) = look(request, "n1").lacks
        assert "another file is there" in lack


def test_a_folder_that_can_only_be_read_is_found_out(inputs, tmp_path, monkeypatch):
    with canary_request(make_setup(inputs, tmp_path)) as request:

        def refuse(*_args):
            raise PermissionError("read-only file system")

        monkeypatch.setattr(storage, "publish", refuse)
        (lack,) = look(request, "n1").lacks
    assert lack == f"--out {tmp_path}: nothing can be written there (PermissionError: read-only file system)"


def test_a_disk_that_is_nearly_full_is_found_out(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(canary, "LEAST_FREE_BYTES", 1 << 60)
    with canary_request(make_setup(inputs, tmp_path)) as request:
        (lack,) = look(request, "n1").lacks
    assert lack.endswith("MiB are free")


def test_images_and_software_of_another_kind_are_found_out_together(inputs, tmp_path):
    with canary_request(make_setup(inputs, tmp_path, code="ab")) as request:
        inputs.file(1).unlink()
        lacks = look(request, "n1").lacks
    assert [lack.partition(":")[0] for lack in lacks] == ["code", "image 000000000001 is missing"]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A model that this node does not have, and an empty cache."""
    monkeypatch.setenv("SOD_CACHE", str(tmp_path / "cache"))
    return Weights(sha256="ab" * 32, files={"model.safetensors": 5 << 20})


def test_a_node_without_the_model_is_fit_if_it_has_room_to_fetch_it(inputs, tmp_path, monkeypatch, weights):
    with canary_request(make_setup(inputs, tmp_path / "out", weights)) as request:
        assert look(request, "n1").lacks == {}
        assert not (tmp_path / "cache").exists()
        large = replace(request, weights=replace(weights, files={"model.safetensors": 1 << 60}))
        (lack,) = look(large, "n1").lacks
        assert f"MiB are free in {tmp_path}/cache/models, and it takes {1 << 40}" in lack
        monkeypatch.setattr(canary.os, "access", lambda *_: False)
        (lack,) = look(request, "n1").lacks
        assert "can't be kept in" in lack


def test_a_node_that_has_the_model_needs_no_room_and_one_with_another_is_told_of(inputs, tmp_path, caplog, weights):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    large = {"model.safetensors": 1 << 60}
    known = replace(weights, sha256=weights_sha256(folder), files=large)
    with canary_request(make_setup(inputs, tmp_path / "out", known)) as request:
        request = replace(request, model=ModelConfig(model=str(folder)))
        assert look(request, "n1") == Finding(node="n1")
        (folder / "model.safetensors").write_bytes(b"others")
        small = replace(request, weights=replace(known, files={"model.safetensors": 7}))
        findings = [look(small, "n1"), look(small, "n2"), Finding(node="n3")]
        assert lacking(findings) == {}
        (message,) = caplog.messages
        assert message.startswith(f"n1, n2: other weights are in {folder} ({weights_sha256(folder)[:12]}, not ")
        (folder / "model.safetensors").write_bytes(b"weights")
        folder.rename(tmp_path / "there")
        (tmp_path / "cache/models").mkdir(parents=True)
        (tmp_path / "there").rename(tmp_path / "cache/models" / known.sha256)
        assert look(request, "n1") == Finding(node="n1")  # fetched by an earlier run


def test_whatever_fails_on_a_node_is_a_finding(inputs, tmp_path, monkeypatch):
    with canary_request(make_setup(inputs, tmp_path)) as request:

        def fail(*_args):
            raise RuntimeError("no idea")

        monkeypatch.setattr(canary, "problems", fail)
        assert list(look(request, "n1").lacks) == ["images: RuntimeError: no idea"]


def test_a_canary_loads_no_network():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import pipeline.replicas.canary, sys; print({'torch', 'diffusers'} & set(sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"


@given(st.lists(FINDINGS, max_size=5))
def test_a_run_is_refused_if_and_only_if_there_are_nodes_and_none_is_fit(findings):
    if findings and all(finding.lacks for finding in findings):
        with pytest.raises(ConfigError, match="no node of the cluster can do this work"):
            refuse_if_none(findings)
    else:
        refuse_if_none(findings)
    assert set(lacking(findings)) == {finding.node for finding in findings if finding.lacks}


def test_the_table_names_nodes_with_the_same_lack_in_one_row(caplog):
    lacks = {"image 1 is missing": "Mount [bold]/images[/bold]\x1b[31m"}
    findings = [Finding(node=f"n{number}", lacks=lacks) for number in range(9)]
    findings += [Finding(node="fit"), no_answer("late", "it crashed")]
    drawn = table(findings)
    assert drawn.count("image 1 is missing") == 1
    assert "[bold]/images[/bold]\\x1b[31m" in drawn
    assert "n5" in drawn
    assert "and 3 more" in drawn
    assert "n6" not in drawn
    assert "fit" not in drawn
    assert "no answer: it crashed" in drawn
    assert lacking(findings) == {**{f"n{n}": "image 1 is missing" for n in range(9)}, "late": "no answer: it crashed"}
    assert "10 of 11 nodes" in caplog.text
