"""The weights of a run on a node: where they lie, or fetched, and always proven."""

import dataclasses

import pytest

from model.config import ModelConfig
from model.weights import weights_sha256
from pipeline.errors import NodeUnfitError, StorageError, StorageUnavailableError
from pipeline.files import model_cache, storage
from pipeline.replicas import weights as module
from pipeline.replicas.seat import Seat
from pipeline.replicas.weights import at_seat, read_from, weights_of
from tests.pipeline.make import tree

FILES = {"model_index.json": b"{}", "unet/model.safetensors": b"weights", "unet/config.json": b"[]"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """The driver's model, with something beside it that no node needs."""
    for name, content in FILES.items():
        path = tmp_path / "weights" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "weights" / "training.pkl").write_bytes(b"cos\nsystem\n")
    return tmp_path / "weights"


def refuse(*_args):
    raise AssertionError("the driver was asked")


def test_what_the_driver_knows_of_its_weights(folder):
    model = ModelConfig(model=str(folder))
    found = weights_of(model)
    assert found.sha256 == weights_sha256(folder)
    assert found.files == {name: len(content) for name, content in FILES.items()}
    assert found.url == ""
    assert weights_of(model, "ab").sha256 == "ab"
    assert weights_of(ModelConfig(model="fake")) is None


def test_the_right_weights_at_the_drivers_path_are_used_as_they_lie(folder, cache):
    model = ModelConfig(model=str(folder))
    assert at_seat(weights_of(model), model, Seat(node="n", read_chunk=refuse)) == model
    assert at_seat(None, model, Seat(node="n", read_chunk=refuse)) == model
    assert not cache.exists()


@pytest.mark.parametrize("other", [None, b"others"])
def test_a_node_with_other_weights_or_none_at_that_path_gets_the_right_ones_from_the_driver(folder, caplog, other):
    model = ModelConfig(model=str(folder), threads=2)
    known = weights_of(model)
    drivers = folder.rename(folder.with_name("of_driver"))
    if other:
        (folder / "unet").mkdir(parents=True)
        (folder / "unet/model.safetensors").write_bytes(other)
    found = at_seat(known, model, Seat(node="n", read_chunk=read_from(drivers)))
    assert tree(found.folder) == FILES
    assert found == dataclasses.replace(model, model=str(model_cache.models_folder() / known.sha256))
    assert ("holds other weights on n" in caplog.text) == bool(other)
    assert at_seat(known, model, Seat(node="n", read_chunk=refuse)) == found  # from the cache


def test_the_url_goes_before_the_driver_and_the_driver_helps_if_it_fails(folder, monkeypatch):
    model = ModelConfig(model=str(folder))
    url = "memory://at_a_url/model"
    known = dataclasses.replace(weights_of(model), url=url)
    drivers = folder.rename(folder.with_name("of_driver"))
    for name, content in FILES.items():
        storage.publish(f"{url}/{name}", content)
    found = at_seat(known, model, Seat(node="n", read_chunk=refuse))
    assert tree(found.folder) == FILES
    storage.remove_tree(url)
    (found.folder / "model_index.json").unlink()
    with pytest.raises(NodeUnfitError, match=r"memory://at_a_url/model does not give them: .* is missing"):
        at_seat(known, model, Seat(node="n"))
    assert tree(at_seat(known, model, Seat(node="n", read_chunk=read_from(drivers))).folder) == FILES


def test_a_node_that_can_have_them_nowhere_is_unfit(folder):
    model = ModelConfig(model=str(folder))
    known = weights_of(model)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(NodeUnfitError, match=f"expected {known.sha256}, found none in {folder}") as raised:
        at_seat(known, model, Seat(node="n"))
    assert "give --model as a URL" in str(raised.value)


def test_a_driver_whose_weights_have_changed_gives_none(folder, tmp_path):
    model = ModelConfig(model=str(folder))
    known = weights_of(model)
    drivers = folder.rename(tmp_path / "of_driver")
    (drivers / "unet/model.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(NodeUnfitError, match="the model that was sent has the SHA-256"):
        at_seat(known, model, Seat(node="n", read_chunk=read_from(drivers)))


def test_storage_that_is_away_is_not_the_nodes_fault(folder, monkeypatch):
    model = ModelConfig(model=str(folder))
    known = dataclasses.replace(weights_of(model), url="memory://away")
    folder.rename(folder.with_name("elsewhere"))

    def fail(*_args):
        raise StorageUnavailableError("away")

    monkeypatch.setattr(module, "reader", lambda _: fail)
    with pytest.raises(StorageUnavailableError, match="away"):
        at_seat(known, model, Seat(node="n"))


def test_the_driver_gives_weights_and_nothing_else(folder):
    read = read_from(folder)
    assert read("unet/model.safetensors", 2, 3) == b"igh"
    for name in ("training.pkl", "../weights/model_index.json", "/etc/passwd", "absent.json"):
        with pytest.raises(StorageError, match="has no weights of the name"):
            read(name, 0, 3)
