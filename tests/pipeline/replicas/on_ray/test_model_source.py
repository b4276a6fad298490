"""The driver's weights on a real cluster: chunks that any worker may ask for."""

import os
from dataclasses import replace

import pytest

from model.config import ModelConfig
from pipeline.errors import StorageError
from pipeline.files.model_cache import digest_in
from pipeline.replicas.on_ray.authenticated import ray
from pipeline.replicas.on_ray.model_source import model_source
from pipeline.replicas.seat import Seat
from pipeline.replicas.weights import at_seat, weights_of
from tests.pipeline.make import make_collection, tree
from tests.pipeline.replicas.test_canary import make_setup

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("on_cluster"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

FILES = {"model_index.json": b"{}", "unet/model.safetensors": b"weights" * 1_500_000}


def fetch_in_a_worker(setup, read_chunk, cache):
    os.environ["SOD_CACHE"] = cache
    model = ModelConfig(model="/a/folder/that/this/node/does/not/have")
    return at_seat(setup.weights, model, Seat(node="n", read_chunk=read_chunk)).model


def test_a_worker_gets_the_drivers_weights_in_chunks_and_nothing_else(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "weights" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    model = ModelConfig(model=str(tmp_path / "weights"))
    setup = make_setup(make_collection(tmp_path / "in", 1), tmp_path / "out", weights_of(model))
    setup = replace(setup, model=model)
    with model_source(setup) as read_chunk:
        task = ray.remote(num_cpus=0)(fetch_in_a_worker)
        folder = ray.get(task.remote(setup, read_chunk, str(tmp_path / "cache")))
        assert tree(folder) == FILES
        assert digest_in(model.folder) == setup.weights.sha256
        with pytest.raises(StorageError, match="has no weights of the name"):
            read_chunk("../secret", 0, 1)
    with model_source(make_setup(make_collection(tmp_path / "in2", 1), tmp_path / "out")) as nothing:
        assert nothing is None
