"""Which files a network consists of: their digests, and what is refused before anything is loaded from it."""

import hashlib
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from pipeline.errors import ConfigError
from pipeline.networks.onnx_files import one_digest, onnx_digests, require_packages
from tests.pipeline.passes.networks import brightness, image_input, save

OUTSIDE = {"save_as_external_data": True, "size_threshold": 0}


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def with_data_at(path, location):
    """A network whose weights lie where `location` says; nobody has put them there."""
    weight = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[1, 3, 1, 1])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    nodes = [helper.make_node("Conv", ["image", "weight"], ["map"])]
    output = helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, 16, 16])
    graph = helper.make_graph(nodes, "network", [image_input()], [output], [weight])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_a_file_alone_has_its_own_digest(tmp_path):
    path = brightness(tmp_path / "net.onnx")
    assert onnx_digests(path) == {"": sha256(path)}
    assert one_digest(onnx_digests(path)) == sha256(path)


def test_data_beside_the_file_count_too(tmp_path):
    (tmp_path / "weights").mkdir()
    path = brightness(tmp_path / "net.onnx", **OUTSIDE, location="weights/all.bin")
    before = onnx_digests(path)
    assert before == {"": sha256(path), "weights/all.bin": sha256(tmp_path / "weights/all.bin")}
    data = (tmp_path / "weights/all.bin").read_bytes()
    (tmp_path / "weights/all.bin").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    after = onnx_digests(path)
    assert after[""] == before[""]
    assert one_digest(after) != one_digest(before)


def test_data_of_networks_within_networks_count_too(tmp_path):
    """Both branches of an `If` are graphs in attributes."""
    inner = TensorProto(name="inner", data_type=TensorProto.FLOAT, dims=[1])
    inner.data_location = TensorProto.EXTERNAL
    inner.external_data.add(key="location", value="inner.bin")
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Constant", [], ["inner"], value=inner)], "branch", [], [value])
    nodes = [helper.make_node("If", ["is"], ["map"], then_branch=branch, else_branch=branch)]
    graph = helper.make_graph(nodes, "network", [image_input()], [value])
    (tmp_path / "net.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ConfigError, match=r"external data 'inner\.bin' are not there"):
        onnx_digests(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/hostname", "weights/../../secret.bin", "link.bin", "linked/secret.bin", ""]
)
def test_data_outside_the_folder_are_refused(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    path = with_data_at(folder / "net.onnx", location)
    with pytest.raises(ConfigError, match=r"external data, which is outside its folder; nothing was loaded"):
        onnx_digests(path)


def test_an_address_in_memory_is_no_file(tmp_path):
    """onnxruntime takes this name for weights that are in memory already, at an address that the file could choose."""
    path = with_data_at(tmp_path / "net.onnx", "*/_ORT_MEM_ADDR_/*")
    with pytest.raises(ConfigError, match="are not there; put them beside the file"):
        onnx_digests(path)


def test_a_download_cache_may_link_to_both_files(tmp_path):
    """As the cache of huggingface_hub: names in one folder, contents in another."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    brightness(blobs / "ab12", **OUTSIDE, location="net.onnx_data")
    (snapshot / "net.onnx").symlink_to(blobs / "ab12")
    (snapshot / "net.onnx_data").symlink_to(blobs / "net.onnx_data")
    assert onnx_digests(snapshot / "net.onnx") == onnx_digests(blobs / "ab12")


@pytest.mark.parametrize("content", [b"", b"no network", b"\x80\x04\x95pickle", b"version https://git-lfs"])
def test_a_file_that_is_no_network_is_shown(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"is no network in ONNX.* {len(content)} bytes that begin with b"):
        onnx_digests(path)


def test_a_network_without_a_layer_is_refused(tmp_path):
    path = save(tmp_path / "net.onnx", [], [], [])
    with pytest.raises(ConfigError, match="or one without a layer"):
        onnx_digests(path)


@pytest.mark.parametrize("name", ["missing.onnx", "."])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(ConfigError, match=r"it can't be read \((No such file|Is a dir)"):
        onnx_digests(tmp_path / name)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path, package):
    path = brightness(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, package, None)
    for call in (require_packages, lambda: onnx_digests(path)):
        with pytest.raises(ConfigError, match=rf"needs the package {package}, which is not installed: pip install"):
            call()


def test_the_tensors_are_not_loaded(tmp_path):
    """Data of any size are only hashed: the file beside says that they are weights, and nothing checks it here."""
    path = brightness(tmp_path / "net.onnx", **OUTSIDE, location="all.bin")
    (tmp_path / "all.bin").write_bytes(b"short")
    assert onnx_digests(path)["all.bin"] == hashlib.sha256(b"short").hexdigest()
    assert onnx.load(path, load_external_data=False).graph.node
