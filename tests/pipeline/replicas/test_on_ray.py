"""What Ray's own ways of ending become, without a cluster: a stop with words, errors without a worker's traceback."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from model.config import ModelConfig
from pipeline.config import ClusterConfig
from pipeline.errors import ConfigError, Stopped
from pipeline.replicas.on_ray import connection, placement
from pipeline.replicas.on_ray.authenticated import ray
from pipeline.replicas.on_ray.tasks import raised


def failed(cause):
    return ray.exceptions.RayTaskError("process", "Traceback: many lines", cause)


def test_a_sigterm_while_ray_starts_is_a_stop_and_ray_is_shut_down(monkeypatch):
    ended = []

    def be_told_to_stop(**_):
        ray._private.utils.set_sigterm_handler(lambda *_: sys.exit(15))  # as Ray does first of all
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)  # a handler runs between two lines
        ended.append(False)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", be_told_to_stop)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    with pytest.raises(Stopped, match="while Ray was starting"), connection.connected():
        raise AssertionError("not reached")
    assert ended == [False, True]


def test_workers_of_a_cluster_started_here_import_this_checkout(monkeypatch):
    given = {}
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **options: given.update(options))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with connection.connected():
        pass
    checkout = Path(given["runtime_env"]["env_vars"]["PYTHONPATH"])
    assert (checkout / "pipeline" / "replicas" / "on_ray" / "connection.py").samefile(connection.__file__)


def test_an_error_with_words_of_its_own_comes_without_the_workers_traceback():
    for cause in (ConfigError("--model x: no"), OSError(28, "No space left on device")):
        assert raised(failed(cause)) is cause
    found = raised(failed(ValueError("a bug")))
    assert isinstance(found, ValueError)
    assert "many lines" in str(found)


@pytest.fixture
def cluster_with(monkeypatch):
    """Pretends that the cluster has some resources, and perhaps an autoscaler."""

    def pretend(has, *, grows=False):
        monkeypatch.setattr(ray, "cluster_resources", lambda: has)
        monkeypatch.setattr(placement, "can_grow", lambda: grows)

    return pretend


def amounts(model=None, **options):
    return placement.needs_of(model or ModelConfig(), ClusterConfig(**options)).amounts


def test_a_replica_that_needs_a_gpu_is_not_given_a_cpu(cluster_with):
    cluster_with({"CPU": 8.0})
    with pytest.raises(ConfigError, match="the Ray cluster has no GPU"):
        amounts(ModelConfig(device="cuda"))
    assert amounts(ModelConfig(threads=2)) == {"CPU": 2}
    cluster_with({"CPU": 8.0, "GPU": 1.0})
    assert amounts(ModelConfig(device="cuda")) == {"GPU": 1, "CPU": 1}
    assert amounts(gpus_per_replica=0.5) == {"GPU": 0.5, "CPU": 1}


def test_gpus_that_an_autoscaler_could_add_are_waited_for_instead_of_taking_the_run_to_a_cpu(cluster_with):
    cluster_with({"CPU": 4.0}, grows=True)
    assert amounts() == amounts(ModelConfig(device="cuda")) == {"GPU": 1, "CPU": 1}
    assert amounts(ModelConfig(device="cpu")) == {"CPU": 1}


def test_nodes_are_counted_by_all_that_a_replica_needs(cluster_with):
    cluster_with({"CPU": 8.0, "GPU": 1.0})
    cluster = ClusterConfig(gpus_per_replica=0.4, resources=("memory=4e9", "spot=1"), labels=("zone=b",))
    needs = placement.needs_of(ModelConfig(), cluster)
    node = {"GPU": 4.0, "CPU": 64.0, "memory": 17e9, "spot": 9.0}
    assert needs.slots(node, {"zone": "b"}) == 4
    more = node | {"memory": 99e9, "spot": 99.0}
    assert needs.slots(more, {"zone": "b"}) == 8  # two on each GPU, not ten on four
    assert needs.slots(more | {"GPU": 0.6}, {"zone": "b"}) == 1
    assert needs.slots(node, {"zone": "a"}) == needs.slots({"CPU": 64.0}, {"zone": "b"}) == 0
    assert needs.options(["f00", "ba2"]) == {
        "num_cpus": 1,
        "num_gpus": 0.4,
        "memory": 4e9,
        "resources": {"spot": 1.0},
        "label_selector": {"zone": "b", "ray.io/node-id": "!in(ba2,f00)"},
    }


def test_a_gpu_that_a_replica_was_given_is_to_be_used(cluster_with):
    cluster_with({"GPU": 1.0, "CPU": 8.0})
    assert placement.needs_of(ModelConfig(), ClusterConfig()).device == "cuda"
    cluster_with({"CPU": 8.0})
    assert placement.needs_of(ModelConfig(), ClusterConfig()).device == "cpu"


@pytest.mark.parametrize(
    ("reported", "grows"),
    [
        ({}, False),
        ({"__autoscaling_status": b"no json"}, False),
        ({"__autoscaling_status": b'{"autoscaler_report": {"active_nodes": {"node_0f": 1}}}'}, False),
        ({"__autoscaling_status": b'{"autoscaler_report": {"active_nodes": {"ray.head.default": 1}}}'}, True),
        ({"__autoscaler_v2_enabled": b"1"}, True),
        ({"__autoscaler_v2_enabled": b"0"}, False),
    ],
)
def test_an_autoscaler_is_known_by_what_it_reports(monkeypatch, reported, grows):
    monkeypatch.setattr(placement, "_read", lambda key, namespace=None: reported.get(key.decode()))
    assert placement.can_grow() == grows


def test_a_node_keeps_its_name_whatever_others_come():
    def node(node_id, name="10.0.0.5"):
        return {"NodeID": node_id, "NodeName": name}

    first, second = "a1" * 28, "b2" * 28
    assert placement._name(node(first)) == "10.0.0.5"
    assert placement._name(node(second)) == "10.0.0.5/b2b2b2"
    assert placement._name(node(first)) == "10.0.0.5"


def test_tasks_keep_away_from_nodes_that_can_t_do_the_work_if_others_have_a_core(monkeypatch):
    def node(name, cores):
        return {"NodeID": name * 28, "NodeName": f"node-{name}", "Alive": True, "Resources": {"CPU": cores}}

    nodes = [node("c3", 4), node("d4", 4)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(placement, "_UNFIT", set())
    assert placement.options_of_tasks() == {"num_cpus": 1}
    placement.keep_tasks_from(["node-d4"])
    assert placement.options_of_tasks() == {
        "num_cpus": 1,
        "label_selector": {"ray.io/node-id": f"!in({'d4' * 28})"},
    }
    nodes[0] = node("c3", 0)
    assert placement.options_of_tasks() == {"num_cpus": 1}
