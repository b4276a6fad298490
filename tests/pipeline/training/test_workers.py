"""How many workers a cluster can start: as many as there are GPUs, or without GPUs as there are CPUs."""

import pytest

from pipeline.errors import ConfigError
from pipeline.training.cluster import workers_on


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
