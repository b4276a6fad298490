"""How many workers a cluster can start: as many as there are GPUs, or without GPUs as there are CPUs; and from where
those go on that replace dead ones.
"""

import contextlib
import functools
from dataclasses import replace

import pytest
import ray

from pipeline.errors import ConfigError
from pipeline.training import cluster
from pipeline.training.cluster import train_on_ray, workers_on
from pipeline.training.state import checkpoints
from tests.pipeline.training.make import Interruption, left_by, make_config, stop_at, train_quietly


@pytest.mark.parametrize(
    ("resources", "requested", "expected"),
    [
        ({"CPU": 2.0}, 0, (1, False)),
        ({"CPU": 2.0}, 2, (2, False)),
        ({"CPU": 2.0, "GPU": 4.0}, 0, (4, True)),
        ({"CPU": 2.0, "GPU": 4.0}, 3, (3, True)),
    ],
)
def test_each_worker_has_a_gpu_or_without_gpus_a_cpu(resources, requested, expected):
    assert workers_on(resources, requested) == expected


@pytest.mark.parametrize(
    ("resources", "requested", "said"),
    [
        ({"CPU": 2.0}, 3, "--workers 3: the cluster has 2 CPUs, one per worker; give at most 2"),
        ({"CPU": 9.0, "GPU": 4.0}, 5, "--workers 5: the cluster has 4 GPUs, one per worker; give at most 4"),
        ({}, 0, "--workers 1: the cluster has 0 CPUs, one per worker; give at most 0"),
    ],
)
def test_more_workers_than_can_ever_start_are_refused(resources, requested, said):
    with pytest.raises(ConfigError) as refused:
        workers_on(resources, requested)
    assert str(refused.value) == said


@pytest.fixture
def attempts(monkeypatch):
    """Steps of each attempt of a training on Ray, the first of which dies at step 5; no cluster is used."""
    made = list[list[float]]()

    def after_step(die, values):
        made[-1].append(values["step"])
        die(values)

    class Trainer:
        def __init__(self, _loop, *, train_loop_config, **_options):
            self.config = train_loop_config["config"]

        def fit(self):
            for died_at in (5, None):
                made.append([])
                with contextlib.suppress(Interruption):
                    train_quietly(self.config, functools.partial(after_step, stop_at(died_at)))

    monkeypatch.setattr(cluster, "TorchTrainer", Trainer)
    monkeypatch.setattr(cluster, "connected", lambda for_training: contextlib.nullcontext())
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 1.0})
    return made


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("limit", [1, None])
@pytest.mark.parametrize(
    ("before", "named", "expected"),
    [
        (6, "checkpoint-2", [[3, 4, 5], [5, 6]]),  # checkpoint-4 and checkpoint-6 were there before
        (2, "checkpoint-2", [[3, 4, 5], [5, 6]]),
        (2, "latest", [[3, 4, 5], [5, 6]]),
        (0, "none", [[1, 2, 3, 4, 5], [5, 6]]),
    ],
)
def test_a_worker_that_replaces_a_dead_one_goes_on_from_what_was_learnt_since_and_not_from_the_named_checkpoint(
    attempts, tmp_path, pairs_folder, tiny_weights, before, named, expected, limit
):
    config = make_config(pairs_folder, tiny_weights, tmp_path / "out", checkpoints_total_limit=None)
    if before:
        train_quietly(replace(config, max_train_steps=before))
    train_on_ray(replace(config, resume_from_checkpoint=named, checkpoints_total_limit=limit))
    assert attempts == expected
    train_quietly(replace(config, output_dir=tmp_path / "alone"))
    assert left_by(tmp_path / "out") == left_by(tmp_path / "alone")
    assert len(checkpoints(tmp_path / "out")) == (limit or 3)
