"""The Ray module: starts replicas, calls them, waits for them, and translates Ray's exceptions.

`dispatch.py` decides which shard a replica gets, and `failures.py` what follows from its death. The driver only counts:
a replica publishes and commits its shards itself, so a driver that dies loses nothing, and what a replica would say
after a commit is not needed. Replicas have `max_restarts=0` and are replaced here: while Ray restarts an actor itself,
it fails calls that were never begun.
"""

import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

# Set before ray is imported, because ray reads it then: a cluster that we start requires a token that is in no file.
# By default, Ray turns authentication on too, but keeps its token in the user's home.
if "RAY_AUTH_MODE" not in os.environ and "RAY_ADDRESS" not in os.environ:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from model.config import ModelConfig
from pipeline.config import ClusterConfig
from pipeline.devices import require_device_of_cluster
from pipeline.errors import PipelineError, ReplicaError, Stopped
from pipeline.progress.stages import Stage, stage
from pipeline.progress.words import amount
from pipeline.records import ShardSpec
from pipeline.replicas.dispatch import SHARDS_IN_HAND, Hand, names, next_handout
from pipeline.replicas.failures import Failures, GiveUp
from pipeline.replicas.journal import collect
from pipeline.replicas.progress import Progress
from pipeline.replicas.replica import Replica
from pipeline.replicas.setup import Setup
from pipeline.replicas.shards import ShardResult
from pipeline.replicas.signals import stop_flag, stop_flag_then_interrupt
from pipeline.replicas.stalls import StallWatch
from pipeline.replicas.usage import ReplicaUsage

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 100 << 20  # 100 MiB; specs and rows are all that goes through it
WAIT_S = 0.5
"""Longest wait before the stop flag is checked again; `ray job stop` gives three seconds by default."""
LOOK_S = 2.0
"""Time between two looks at what replicas have finished."""
START_PATIENCE_S = 20.0
"""How long Ray may go on starting once somebody has asked to stop; a scheduler kills after 30 s."""
DEATH_S = 10.0
"""Longest wait for Ray to say whether a dead replica's other call had ended before."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def run_on_ray(
    specs: Sequence[ShardSpec],
    setup: Setup,
    cluster: ClusterConfig,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
) -> list[ReplicaUsage]:
    """Process all `specs` with replicas on a Ray cluster.

    Args:    check: called several times a second; what it raises ends the run.
    Returns: what the replicas that lived to the end used.
    Raises:  ReplicaError: a shard, or replicas in a row, died too often.
             Stopped: SIGTERM or SIGINT came; a shard that was not committed starts again in the next session.
             Whatever `process_shard` raised, unless it was a death: every other try would raise it again.
    """
    with connected(), stop_flag() as stop, progress.shown(cluster.progress_every_s) as shown:
        return _Dispatcher(specs, setup, cluster, progress, shown).run(stop, check)


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
             Whatever the function raised; it is not called again then.
    """
    with connected(), stop_flag() as stop:
        task = ray.remote(num_cpus=1, max_retries=attempts - 1)(function)
        ahead = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting, answers = deque(items), list[Answer]()
        calls = deque(task.remote(waiting.popleft()) for _ in range(min(ahead, len(items))))
        while calls:
            answers.append(_answer(calls.popleft(), stop, attempts))
            on_answer(answers[-1])
            if waiting:
                calls.append(task.remote(waiting.popleft()))
        return answers


def _answer(call: Any, stop: threading.Event, attempts: int) -> Any:
    ready: list[Any] = []
    while not ready:
        if stop.is_set():
            raise Stopped("asked to stop. Run the same command again to resume from what is committed")
        ready, _ = ray.wait([call], timeout=WAIT_S)
    try:
        return ray.get(call)
    except RayTaskError as error:
        raise _raised(error) from error
    except RayError as error:
        raise ReplicaError(f"a task did not end in {attempts} tries. Last: {str(error).strip()}") from error


def _raised(error: RayTaskError) -> BaseException:
    """What a worker raised: an error with words of its own as it is, anything else with the worker's traceback."""
    cause: BaseException = error.cause
    return cause if isinstance(cause, PipelineError | OSError) else error.as_instanceof_cause()


class _Dispatcher:
    """Carries out a run: hands shards out, collects results, replaces replicas."""

    def __init__(
        self, specs: Sequence[ShardSpec], setup: Setup, cluster: ClusterConfig, progress: Progress, shown: Stage
    ) -> None:
        self._waiting = deque(specs)
        self._setup = setup
        self._cluster = cluster
        self._progress, self._shown = progress, shown
        self._looked_s = time.monotonic()
        self._resources = _resources(setup.model)
        replicas = min(len(specs), cluster.replicas or _automatic_replicas(self._resources))
        self._hands = [Hand(replica=self._start_replica()) for _ in range(replicas)]
        self._failures = Failures(replicas=replicas, shard_attempts=cluster.shard_attempts)
        self._stalls = StallWatch[Hand](cluster.stall_after_s)
        shown.note(f"loading the model: {amount(replicas, 'replicas')}")

    def run(self, stop: threading.Event, check: Callable[[], None]) -> list[ReplicaUsage]:
        log.info("replicas: %d, shards to do: %d", len(self._hands), len(self._waiting))
        self._hand_out()
        while calls := {call: hand for hand in self._hands for call in hand.calls}:
            check()
            if stop.is_set():
                raise self._progress.stopped()
            done, _ = ray.wait(list(calls), timeout=WAIT_S)
            for call in done:
                self._collect(calls[call], call)
            self._hand_out()
            if time.monotonic() - self._looked_s >= min(LOOK_S, self._cluster.progress_every_s):
                self._look()
                self._looked_s = time.monotonic()
        self._progress.show(self._shown)
        used = self._ask(self._hands, lambda replica: replica.usage.remote())
        return [usage for usage in used.values() if usage]

    def _start_replica(self) -> Any:
        # One memory arena for all threads: with glibc's default, one per thread, a replica of the nano model took 1.50
        # to 1.57 GB instead of 1.32 to 1.40.
        environment = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
        concurrency = SHARDS_IN_HAND + 1  # one more to answer `finished`
        actor = ray.remote(max_restarts=0, max_concurrency=concurrency, runtime_env=environment, **self._resources)(
            Replica
        )
        return actor.remote(self._setup)

    def _hand_out(self) -> None:
        while handout := next_handout(self._hands, self._waiting, self._failures.needs_care):
            hand, spec = handout
            self._waiting.remove(spec)
            hand.calls[hand.replica.process.remote(spec, self._failures.caution(spec))] = spec

    def _collect(self, hand: Hand, call: Any) -> None:
        if call not in hand.calls:  # its replica died, and `_replace` has collected this call
            return
        if error := self._take(hand, call):
            self._replace(hand, error)

    def _take(self, hand: Hand, call: Any, wait_s: float | None = None) -> RayError | None:
        """Count what a call has done, or return the error if its process or node died or ran out of memory."""
        try:
            result: ShardResult = ray.get(call, timeout=wait_s)
        except RayTaskError as error:
            raise _raised(error) from error
        except RayError as error:
            return error
        del hand.calls[call]
        hand.collected += result.computed
        self._failures.after_commit()
        self._progress.add_computed(result.rows, result.computed, result.seconds)
        return None

    def _replace(self, hand: Hand, error: RayError) -> None:
        said = str(error).strip().splitlines()[0]
        ray.kill(hand.replica)  # it may only be out of reach, and would then work on the same shards as the new one
        lost = [spec for call, spec in list(hand.calls.items()) if self._take(hand, call, DEATH_S)]
        hand.calls.clear()
        log.warning("the replica at shard %s died (%s); a new one takes its place", names(lost), said)
        in_work = collect(self._setup.work.run, [spec.name for spec in lost])
        decision = self._failures.after_death(lost, in_work, said)
        if isinstance(decision, GiveUp):
            raise ReplicaError(decision.reason)
        for key in decision.guilty:
            log.warning("key %s killed its replica again and is skipped: it will be recorded as failed", key)
        self._waiting.extendleft(reversed(decision.shards))
        self._hands[self._hands.index(hand)] = Hand(replica=self._start_replica())

    def _look(self) -> None:
        """Show how far the run is, and end replicas that stand still; their calls then fail as if they had died."""
        working = [hand for hand in self._hands if hand.calls]
        finished = self._ask(working, lambda replica: replica.finished.remote())
        counts = {hand: count for hand, count in finished.items() if count is not None}
        for hand, count in counts.items():
            hand.pace.reach(count)
        rates = [rate for hand in self._hands if (rate := hand.pace.per_s()) is not None]
        in_flight = sum(count - hand.collected for hand, count in counts.items())
        if any(counts.values()):  # until then they load the model, which is what the stage says
            self._progress.show(self._shown, in_flight, rates)
        for hand in self._stalls.stalled(finished):
            shards, stall_s = names(hand.calls.values()), self._cluster.stall_after_s
            log.warning("no image of shard %s was finished for %.0f s; its replica is ended", shards, stall_s)
            ray.kill(hand.replica)

    def _ask(self, hands: Sequence[Hand], question: Callable[[Any], Any]) -> dict[Hand, Any]:
        """The answers of replicas; None for one that does not answer within a second."""
        asked = {question(hand.replica): hand for hand in hands}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=1) if asked else ([], [])
        answers = dict.fromkeys(hands)
        for answer in ready:
            with suppress(RayActorError, GetTimeoutError):
                answers[asked[answer]] = ray.get(answer, timeout=1)
        return answers


def _resources(model: ModelConfig) -> dict[str, Any]:
    """What one replica takes from a node: a GPU if the cluster has one and the model may use it, else CPU cores."""
    gpus = ray.cluster_resources().get("GPU", 0)
    require_device_of_cluster(model.device, gpus)
    if model.device == "cpu" or not gpus:
        return {"num_cpus": model.threads}
    return {"num_gpus": 1, "num_cpus": 1}


def _automatic_replicas(resources: dict[str, Any]) -> int:
    """As many replicas as the cluster has room for at this moment, at least one."""
    resource = "GPU" if "num_gpus" in resources else "CPU"
    return max(1, int(ray.cluster_resources().get(resource, 1) // resources[f"num_{resource.lower()}s"]))


@contextmanager
def connected(*, for_training: bool = False) -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS (set in a submitted job), or start one on this machine for the block.

    Args: for_training: Ray Train logs by itself, and without a dashboard warned every second.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    os.environ["RAY_COLOR_PREFIX"] = "0"  # colours are control characters, which a job's streams escape
    local: dict[str, Any] = {}
    if address == "local":
        # Workers import this checkout by name, whatever folder the job was started in.
        checkout = {"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}}
        local = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": for_training, "runtime_env": checkout}
    what = "starting Ray" if address == "local" else "connecting to the Ray cluster"
    try:
        with stop_flag_then_interrupt(START_PATIENCE_S) as stop, _handlers_of_ray_left_out(), stage(what):
            ray.init(address=address, log_to_driver=for_training, logging_level=logging.WARNING, **local)
            if stop.is_set():
                raise Stopped("asked to stop while Ray was starting. Run the same command again to begin or resume")
        yield
    finally:
        ray.shutdown()


@contextmanager
def _handlers_of_ray_left_out() -> Iterator[None]:
    """Keep our signal handlers while Ray starts.

    Ray's own ones raise SystemExit at any line: the process ended with code 15 and no word, or in an abort of C++ code.
    """
    utils: Any = ray._private.utils
    of_ray = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = of_ray
