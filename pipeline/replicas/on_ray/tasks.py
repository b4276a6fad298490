"""Plain functions as Ray tasks."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pipeline.errors import PipelineError, ReplicaError, Stopped
from pipeline.replicas.on_ray.authenticated import ray
from pipeline.replicas.on_ray.connection import connected
from pipeline.replicas.on_ray.placement import options_of_tasks
from pipeline.replicas.signals import stop_flag

log = logging.getLogger(__name__)

WAIT_S = 0.5
"""Longest wait before the stop flag is checked again."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def run_tasks(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    attempts: int,
    on_answer: Callable[[Answer], None] = lambda _: None,
) -> list[Answer]:
    """Call a plain function with each item, in tasks of one CPU core each.

    Args:    function: from a module that workers can import.
             attempts: how often a task may lose its process.
             on_answer: called with each answer, in the order of the items.
    Returns: the answers, in the order of the items.
    Raises:  ReplicaError: a task lost its process too often.
             Stopped: SIGTERM or SIGINT came.
             Whatever the function raised. What it raises on another node may be that node's fault, whose disk lacks the
             images perhaps: it is called once more on the driver's node, and what it raises there counts.
    """
    with connected(), stop_flag() as stop:
        task = ray.remote(max_retries=attempts - 1, **options_of_tasks())(function)
        ahead = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting, answers = deque(items), list[Answer]()
        calls = deque((item, task.remote(item)) for item in [waiting.popleft() for _ in range(min(ahead, len(items)))])
        while calls:
            item, call = calls.popleft()
            try:
                answer = _answer(call, stop, attempts)
            except (Stopped, ReplicaError):
                raise
            except Exception as error:
                if sum(node["Alive"] for node in ray.nodes()) == 1:
                    raise
                cause = getattr(error, "cause", error)  # Ray's own text begins with its traceback
                log.warning(
                    "a task failed (%s: %s); it is tried once more on the driver's node",
                    *(type(cause).__name__, str(cause).strip().partition("\n")[0]),
                )
                answer = _answer(_here(function, attempts).remote(item), stop, attempts)
            answers.append(answer)
            on_answer(answer)
            if waiting:
                item = waiting.popleft()
                calls.append((item, task.remote(item)))
        if stop.is_set():
            raise _stopped()
        return answers


def _here(function: Callable[[Item], Answer], attempts: int) -> Any:
    """The function as a task of the driver's node, which need not have a core: it may be a head without any."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    return ray.remote(num_cpus=0, max_retries=attempts - 1, scheduling_strategy=here)(function)


def _answer(call: Any, stop: threading.Event, attempts: int) -> Any:
    ready: list[Any] = []
    while not ready:
        if stop.is_set():
            raise _stopped()
        ready, _ = ray.wait([call], timeout=WAIT_S)
    try:
        return ray.get(call)
    except ray.exceptions.RayTaskError as error:
        raise raised(error) from error
    except ray.exceptions.RayError as error:
        raise ReplicaError(f"a task did not end in {attempts} tries. Last: {str(error).strip()}") from error


def raised(error: ray.exceptions.RayTaskError) -> BaseException:
    """What a worker raised: an error with words of its own as it is, anything else with the worker's traceback."""
    cause: BaseException = error.cause
    return cause if isinstance(cause, PipelineError | OSError) else error.as_instanceof_cause()


def _stopped() -> Stopped:
    return Stopped("asked to stop. Run the same command again to resume from what is committed")
