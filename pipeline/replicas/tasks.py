"""Calls a plain function with many items, in this process or as tasks on a cluster; the result is the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TypeVar

from pipeline.config import ClusterConfig
from pipeline.files import patience
from pipeline.preconditions import has_cluster

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def spread(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    cluster: ClusterConfig,
    on_answer: Callable[[Answer], None] = lambda _: None,
) -> list[Answer]:
    """Call the function with each item.

    Args:    function: from a module that workers can import.
             on_answer: called with each answer, in the order of the items.
    Returns: the answers, in the order of the items.
    Raises:  whatever `function` raises; on Ray also what `run_tasks` raises.
    """
    if cluster.engine == "ray":
        from pipeline.replicas.on_ray.tasks import run_tasks

        @wraps(function)
        def patiently(item: Item) -> Answer:
            with patience.lasting(cluster.storage_patience_s):
                return function(item)

        return run_tasks(patiently, items, attempts=cluster.shard_attempts, on_answer=on_answer)
    answers = []
    for item in items:
        answers.append(function(item))
        on_answer(answers[-1])
    return answers


@contextmanager
def staying_connected(cluster: ClusterConfig) -> Iterator[None]:
    """Connect once to a Ray cluster that is there, for a block that needs it several times.

    Between two connections the job has no work that Ray knows of, and what Ray keeps for a job may be cleared away: the
    job's working directory was, on a node that shared its disk.
    """
    if cluster.engine == "ray" and has_cluster():
        from pipeline.replicas.on_ray.connection import connected

        with connected():
            yield
    else:
        yield


@contextmanager
def workers(cluster: ClusterConfig, tasks: int) -> Iterator[ClusterConfig]:
    """Connect to the cluster once for several calls of `spread`; with fewer than 2 tasks, use this process alone.

    Starting Ray takes 5 s on a laptop, as long as making a release of a few hundred images.
    """
    if cluster.engine == "ray" and tasks > 1:
        from pipeline.replicas.on_ray.connection import connected

        with connected():
            yield cluster
    else:
        yield ClusterConfig(engine="inline")
