"""How long models worked, and the log line about it."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from model.config import EnsembleConfig
from model.fake import FakeModel
from model.prediction import SaliencyModel
from pipeline.replicas import usage
from pipeline.replicas.usage import ReplicaUsage, TimedModel, in_words, peak_device_bytes, peak_rss_bytes

IMAGES, KEYS = [np.zeros((4, 6, 3), np.uint8)] * 2, ["000000000001", "000000000002"]


@pytest.fixture
def now(monkeypatch):
    """The time, which only tests move."""
    now = [100.0]
    monkeypatch.setattr(usage, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def test_a_timed_model_answers_like_its_model():
    model = FakeModel(ensemble=EnsembleConfig(ensemble_size=2))
    timed = TimedModel(model)
    assert isinstance(timed, SaliencyModel)
    assert timed.device_kind == model.device_kind
    for found, expected in zip(timed.predict(IMAGES, KEYS), model.predict(IMAGES, KEYS), strict=True):
        assert np.array_equal(found.saliency, expected.saliency)


@pytest.mark.parametrize("torch", [None, SimpleNamespace(), SimpleNamespace(cuda=SimpleNamespace())])
def test_a_replica_that_is_just_importing_torch_has_used_no_gpu(monkeypatch, torch):
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert peak_device_bytes() == 0


def test_only_time_in_the_model_counts_as_work_including_failed_calls(now):
    class SlowModel:
        device_kind = "cpu"

        def predict(self, _images, keys):
            now[0] += 3
            return {1: []}[len(keys)]

    timed = TimedModel(SlowModel())
    now[0] += 5
    timed.predict(IMAGES[:1], KEYS[:1])
    now[0] += 2
    with pytest.raises(KeyError):
        timed.predict(IMAGES, KEYS)
    found = timed.usage()
    assert (found.predicting_s, found.loaded_s) == (6, 13)
    assert found.peak_rss_bytes == peak_rss_bytes() > 10e6


def test_replicas_are_summed_up_in_a_line():
    replicas = [
        ReplicaUsage(peak_rss_bytes=1_500_000_000, predicting_s=9, loaded_s=10),
        ReplicaUsage(peak_rss_bytes=1_400_000_000, predicting_s=7, loaded_s=10),
    ]
    assert in_words(replicas) == (
        "peak memory of a replica: 1.50 GB; models worked 80% of the time since they were loaded"
    )
