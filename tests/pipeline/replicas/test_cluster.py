"""Without a cluster: what Ray's ways of ending become, a stop with words, and errors without a traceback."""

import pytest
from ray.exceptions import RayTaskError

from model.config import ModelConfig
from pipeline.errors import ConfigError, Stopped
from pipeline.replicas import cluster


def failed(cause):
    return RayTaskError("process", "Traceback: many lines", cause)


def test_a_sigterm_while_ray_starts_is_a_stop_and_ray_is_shut_down(monkeypatch):
    ended = []

    def be_told_to_stop(**_):
        raise SystemExit(15)  # what Ray's handler of SIGTERM does

    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", be_told_to_stop)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: ended.append(True))
    with pytest.raises(Stopped, match="while Ray was starting"), cluster.connected():
        raise AssertionError("not reached")
    assert ended == [True]


def test_an_error_with_words_of_its_own_comes_without_the_workers_traceback():
    for cause in (ConfigError("--model x: no"), OSError(28, "No space left on device")):
        assert cluster._raised(failed(cause)) is cause
    found = cluster._raised(failed(ValueError("a bug")))
    assert isinstance(found, ValueError)
    assert "many lines" in str(found)


def test_a_replica_that_needs_a_gpu_is_not_given_a_cpu(monkeypatch):
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: {"CPU": 8.0})
    with pytest.raises(ConfigError, match="the Ray cluster has no GPU"):
        cluster._resources(ModelConfig(device="cuda"))
    assert cluster._resources(ModelConfig(threads=2)) == {"num_cpus": 2}
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 1.0})
    assert cluster._resources(ModelConfig(device="cuda")) == {"num_gpus": 1, "num_cpus": 1}
