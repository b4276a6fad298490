"""Replicas that share a GPU, or have it for themselves: on a real one with `make gpu`; with every `make test`, on one
that is only a number to Ray, with the stand-in for the model."""

import json
import logging

import pytest

from pipeline.runs.machine import settled_machine
from tests.conftest import ROOT
from tests.end_to_end.submitting import digests

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.usefixtures("on_cluster_with_a_gpu"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
MODELS = [
    pytest.param({"model": "fake"}, "cpu", id="a number"),
    pytest.param({"model": "nano", "device": "cuda"}, "cuda", id="cuda", marks=pytest.mark.gpu),
]
ENSEMBLE = {"ensemble_size": 3, "denoise_steps": 1}


@pytest.fixture(scope="module")
def on_cluster_with_a_gpu():
    """A connection of this process to a cluster of its own with one GPU."""
    from pipeline.replicas.local_ray import LocalRay
    from pipeline.replicas.on_ray.authenticated import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # workers of a driver in this process import us by name
        head = LocalRay(cpus=2, gpus=1)
    try:
        head.wait_until_ready()
        ray.init(address=head.address, log_to_driver=False, logging_level=logging.WARNING)
        yield
        ray.shutdown()
    finally:
        head.stop()


def events_of(out, name):
    (session,) = (out / "live").glob("session-*")
    return [line for line in map(json.loads, session.read_text().splitlines()) if line["event"] == name]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("model", "kind"), MODELS)
def test_replicas_that_share_a_gpu_and_one_that_has_it_alone_give_the_bytes_of_one_process(
    run_sample, tmp_path, model, kind
):
    run_sample(tmp_path / "inline", engine="inline", **model, **ENSEMBLE)
    expected = digests(tmp_path / "inline")
    for share, replicas in ((0.5, 2), (1, 1)):
        out = tmp_path / f"share-{share}"
        run_sample(out, replicas=2, gpus_per_replica=share, **model, **ENSEMBLE)
        placed = events_of(out, "replica_placed")
        assert len({(line["node"], line["pid"]) for line in placed}) == len(placed) == replicas
        assert {line["device"] for line in events_of(out, "replica_ready")} == {settled_machine(str(out))["device"]}
        assert settled_machine(str(out))["device"] == kind
        assert digests(out) == expected
