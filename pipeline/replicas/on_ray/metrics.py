"""Hands the metrics of a session to Ray, whose agents on the nodes give them to Prometheus."""

from typing import Any

from pipeline.replicas.on_ray.authenticated import ray
from pipeline.shown import printable, shown
from pipeline.watching.metrics import METRICS, samples
from pipeline.watching.summary import Summary

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name, and its tags in order."""


class Metrics:
    """Takes summaries. Args: folder: of the run, which is the tag `run`."""

    def __init__(self, folder: str) -> None:
        self._run = printable(shown(folder)).rstrip("/")
        self._made: dict[str, Any] = {}
        self._counted: dict[Key, float] = {}

    def __call__(self, summary: Summary) -> None:
        """Report a summary. While this process is not connected to a cluster, nothing is reported, nor lost.

        Ray forgets a gauge that is not set again: so those of replicas that are no more disappear.
        """
        if not ray.is_initialized():
            return
        for sample in samples(summary):
            key = (sample.name, tuple(sample.tags.items()))
            if METRICS[sample.name].kind == "gauge":
                self._of(sample.name).set(sample.value, self._tags(key))
            elif (more := sample.value - self._counted.get(key, 0.0)) > 0:
                self._counted[key] = sample.value
                self._of(sample.name).inc(more, self._tags(key))

    def _tags(self, key: Key) -> dict[str, str]:
        return {"run": self._run, **dict(key[1])}

    def _of(self, name: str) -> Any:
        if name not in self._made:
            from ray.util import metrics

            metric = METRICS[name]
            kind = metrics.Gauge if metric.kind == "gauge" else metrics.Counter
            self._made[name] = kind(name, description=metric.meaning, tag_keys=("run", *metric.tags))
        return self._made[name]
