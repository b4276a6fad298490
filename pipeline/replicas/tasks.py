"""A plain function called with many items: in this process, or as tasks on a cluster. Where changes no answer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pipeline.config import ClusterConfig

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def spread(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    cluster: ClusterConfig,
    on_answer: Callable[[Answer], None] = lambda _: None,
) -> list[Answer]:
    """The answers of all items, in the order of the items.

    Args:   function: of a module that workers can import.
            on_answer: called with each answer, in that order.
    Raises: as `function`, and on Ray as `run_tasks`.
    """
    if cluster.engine == "ray":
        from pipeline.replicas.cluster import run_tasks

        return run_tasks(function, items, attempts=cluster.shard_attempts, on_answer=on_answer)
    answers = []
    for item in items:
        answers.append(function(item))
        on_answer(answers[-1])
    return answers


@contextmanager
def workers(cluster: ClusterConfig, tasks: int) -> Iterator[ClusterConfig]:
    """The cluster for several calls of `spread` in a row, connected once; this process alone if `tasks` is below 2.

    Starting Ray takes 5 s on a laptop: as long as a release of a few hundred images.
    """
    if cluster.engine == "ray" and tasks > 1:
        from pipeline.replicas.cluster import connected

        with connected():
            yield cluster
    else:
        yield ClusterConfig(engine="inline")
