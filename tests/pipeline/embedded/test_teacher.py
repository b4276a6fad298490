"""The teacher: a network in ONNX whose map comes back at the photograph's size; the package it comes in."""

import hashlib
import json
import subprocess
import tarfile
from io import BytesIO

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pipeline.embedded.material import SourceError
from pipeline.embedded.teacher import SIDE_PX, TEACHER, WEIGHTS_NAME, Teacher, teacher_weights


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network that gives the red channel of its input plus a half: of a pixel v, about v / 256."""
    path = tmp_path_factory.mktemp("teacher") / "red.onnx"
    weight = np.zeros((1, 3, 1, 1), np.float32)
    weight[0, 0] = 1
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "half"], ["map"])],
        "red",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, SIDE_PX, SIDE_PX])],
        [
            helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.ravel()),
            helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def teacher(network):
    return Teacher(network, threads=1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
@settings(max_examples=10, deadline=None)
def test_a_map_has_the_photographs_size_and_follows_its_values(teacher, height, width, level):
    pixels = np.full((height, width, 3), (level, 7, 200), np.uint8)
    saliency = teacher.saliency_of(pixels)
    assert saliency.shape == (height, width)
    assert saliency.dtype == np.float32
    np.testing.assert_allclose(saliency, level / 256, atol=1e-5)


def test_a_map_lies_as_its_photograph(teacher):
    pixels = np.zeros((30, 50, 3), np.uint8)
    pixels[:, 40:] = 255
    saliency = teacher.saliency_of(pixels)
    assert saliency[:, :38].max() < 0.05
    assert saliency[:, 42:].min() > 0.95


@pytest.mark.parametrize("content", [b"", b"no network"])
def test_a_file_that_is_no_network_is_named(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(SourceError, match=r"net\.onnx is not a network"):
        Teacher(tmp_path / "net.onnx", threads=1)


# The package


def write_package(cache, chunks, resource):
    """The package as its registry gives it, in the cache."""
    folder = cache / "archives" / "npm-imgly-background-removal-data"
    folder.mkdir(parents=True)
    members = {f"package/dist/{hashlib.sha256(chunk).hexdigest()}": chunk for chunk in chunks}
    members["package/dist/resources.json"] = json.dumps({WEIGHTS_NAME: resource}).encode()
    with tarfile.open(folder / "package.tgz", "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, BytesIO(content))


def resource_of(content, **overrides):
    hashes = [{"hash": hashlib.sha256(chunk).hexdigest()} for chunk in content]
    return {"chunks": hashes, "size": sum(map(len, content))} | overrides


@pytest.fixture
def _no_client(monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)


@pytest.mark.usefixtures("_no_client")
def test_the_chunks_are_put_together_in_their_order_once(tmp_path):
    chunks = [b"second", b"first", b"third"]
    write_package(tmp_path, chunks, resource_of(chunks))
    path = teacher_weights(tmp_path)
    assert path.read_bytes() == b"secondfirstthird"
    path.write_bytes(b"kept")
    assert teacher_weights(tmp_path).read_bytes() == b"kept"


@pytest.mark.usefixtures("_no_client")
@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ({"size": 4}, "has 3 bytes, not 4"),
        ({"chunks": [{"hash": "0" * 64}]}, "no complete"),
        ({"chunks": 1}, "no compl"),
    ],
)
def test_a_package_that_is_not_what_it_says_is_refused(tmp_path, overrides, found):
    write_package(tmp_path, [b"abc"], resource_of([b"abc"], **overrides))
    with pytest.raises(SourceError, match=found):
        teacher_weights(tmp_path)
    assert not (tmp_path / "is-net.onnx").exists()


def test_the_package_says_what_it_is_under():
    assert "AGPL" in TEACHER.licence
