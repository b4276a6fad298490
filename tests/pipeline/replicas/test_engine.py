"""Which nodes of a cluster get work: they are asked once, by whoever needs to know first."""

import contextlib

import pytest

from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError
from pipeline.records import ShardSpec
from pipeline.replicas import engine
from pipeline.replicas.canary import Finding
from pipeline.replicas.progress import Progress
from tests.pipeline.make import make_collection
from tests.pipeline.replicas.test_canary import make_setup

FIT, UNFIT = Finding(node="one"), Finding(node="two", lacks={"the model": "Get it"})
TODO = [ShardSpec(index=0, samples=())]


@pytest.fixture
def cluster(monkeypatch):
    """A cluster whose nodes find what `found` has; `asked` counts, and `unfit` has what a run was told."""

    class Cluster:
        found = (FIT, UNFIT)
        asked = 0
        unfit = None

    def look(_setup, _cluster):
        Cluster.asked += 1
        return list(Cluster.found)

    def work(*arguments):
        Cluster.unfit = arguments[-1]
        return []

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr("pipeline.replicas.on_ray.connection.connected", contextlib.nullcontext)
    monkeypatch.setattr("pipeline.replicas.on_ray.canaries.look_from_nodes", look)
    monkeypatch.setattr("pipeline.replicas.on_ray.run.run_on_ray", work)
    return Cluster


@pytest.fixture
def setup(tmp_path):
    return make_setup(make_collection(tmp_path / "in", 1), tmp_path / "out")


def process(setup, findings=None):
    cluster = ClusterConfig(engine="ray", live_every_s=0)
    return engine.process_shards(TODO, setup, cluster, Progress(1, None), findings=findings)


def test_nodes_are_asked_before_work(cluster, setup):
    process(setup)
    assert (cluster.asked, cluster.unfit) == (1, {"two": "the model"})


def test_nodes_that_were_asked_before_are_not_asked_again(cluster, setup):
    findings = engine.look_ahead(setup, ClusterConfig(engine="ray"))
    process(setup, findings)
    assert (cluster.asked, cluster.unfit) == (1, {"two": "the model"})


def test_a_cluster_without_a_fit_node_gets_no_work(cluster, setup):
    cluster.found = (UNFIT,)
    with pytest.raises(ConfigError, match="no node of the cluster can do this work"):
        process(setup)
    assert cluster.unfit is None


@pytest.mark.parametrize(("engine_name", "address"), [("inline", "127.0.0.1:1"), ("ray", "local"), ("ray", "")])
def test_this_machine_is_not_asked(cluster, setup, monkeypatch, engine_name, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert engine.look_ahead(setup, ClusterConfig(engine=engine_name)) == []
    assert cluster.asked == 0
