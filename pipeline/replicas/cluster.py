"""The Ray module: replicas of the model, and who gets which shard. Nothing else in the pipeline imports ray.

The driver only counts. A replica publishes and commits its shards itself, so a driver that dies loses nothing, and
what a replica says after it has committed is not needed: the commits are the truth. `max_restarts=0`: dead replicas
are replaced here, since Ray would fail calls that were never begun while it restarts an actor itself.
"""

import logging
import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

# Before ray is imported, which reads it then: a cluster of our own asks for a token that is in no file. Left to itself,
# Ray would turn authentication on too, and keep its token in the user's home.
if "RAY_AUTH_MODE" not in os.environ and "RAY_ADDRESS" not in os.environ:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from model.config import ModelConfig
from pipeline.config import ClusterConfig
from pipeline.errors import ReplicaError, Stopped
from pipeline.records import ShardSpec
from pipeline.replicas.dispatch import SHARDS_IN_HAND, Hand, names, next_handout
from pipeline.replicas.progress import Progress
from pipeline.replicas.signals import signals_kept, stop_flag
from pipeline.replicas.stalls import StallWatch
from pipeline.replicas.suspects import Caution, Suspects
from pipeline.replicas.usage import ReplicaUsage, TimedModel
from pipeline.replicas.work import Beside, ReplicaSetup, ShardResult, process_shard

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 100 << 20  # 100 MiB; specs and rows are all that goes through it
WAIT_S = 0.5
"""Longest wait before the stop flag is looked at again; `ray job stop` gives three seconds by default."""
DEATH_S = 10.0
"""Longest wait for Ray to say of a dead replica's other call whether it had ended before."""
DEATHS_IN_A_ROW = 3
"""Replicas that die without having committed a shard between them, after which the run stops."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Replica:
    """One model on one device; reads one shard while it works on another."""

    def __init__(self, setup: ReplicaSetup) -> None:
        self._setup = setup
        self._model: TimedModel | None = None
        self._loading = threading.Lock()
        self._beside = Beside(on_image=self._count)
        self._counting = threading.Lock()
        self._finished = 0

    def process(self, spec: ShardSpec, caution: Caution) -> ShardResult:
        """Predict and commit one shard."""
        # Not in __init__: what is raised there reaches the driver as a death, and would be tried again.
        with self._loading:
            if self._model is None:
                self._model = self._setup.load()
        return process_shard(spec, self._model, self._setup.work, caution, self._beside)

    def finished(self) -> int:
        """Images that have been settled here; answers while `process` runs."""
        return self._finished

    def usage(self) -> ReplicaUsage | None:
        """None if it never had anything to do."""
        return self._model.usage() if self._model else None

    def _count(self, _key: str) -> None:
        with self._counting:
            self._finished += 1


def run_on_ray(
    specs: Sequence[ShardSpec],
    setup: ReplicaSetup,
    cluster: ClusterConfig,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
) -> list[ReplicaUsage]:
    """Have all `specs` processed by replicas on a Ray cluster.

    Args:    check: called several times a second; what it raises ends the run.
    Returns: what the replicas used that were there at the end.
    Raises:  ReplicaError: a shard, or replicas in a row, died too often.
             Stopped: SIGTERM or SIGINT came; shards that were not committed are not lost, only not begun.
             Whatever `process_shard` raised, if it is no death: it would be raised again on every try.
    """
    with connected(), stop_flag() as stop:
        return _Dispatcher(specs, setup, cluster, progress).run(stop, check)


def run_tasks(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    attempts: int,
    on_answer: Callable[[Answer], None] = lambda _: None,
) -> list[Answer]:
    """Have a plain function, of a module that workers can import, called with each item: one task of one CPU core each.

    Args:    attempts: how often a task may lose its process.
             on_answer: called with each answer, in the order of the items.
    Returns: the answers, in the order of the items.
    Raises:  ReplicaError: a task lost its process too often.
             Stopped: SIGTERM or SIGINT came.
             Whatever the function raised: it is not called again for that.
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
    is_there = False
    while not is_there:
        if stop.is_set():
            raise Stopped("asked to stop; the same command starts over, but for what is committed")
        is_there = bool(ray.wait([call], timeout=WAIT_S)[0])
    try:
        return ray.get(call)
    except RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except RayError as error:
        raise ReplicaError(f"a task did not end in {attempts} tries. Last: {str(error).strip()}") from error


class _Dispatcher:
    """Who works on what; one per run."""

    def __init__(
        self, specs: Sequence[ShardSpec], setup: ReplicaSetup, cluster: ClusterConfig, progress: Progress
    ) -> None:
        self._waiting = deque(specs)
        self._setup = setup
        self._cluster = cluster
        self._progress = progress
        self._resources = _resources(setup.model)
        self._hands: list[Hand] = []
        self._suspects = Suspects(setup.work.run, cluster.shard_attempts)
        self._stalls = StallWatch[Hand](cluster.stall_after_s)
        self._deaths_in_a_row = 0

    def run(self, stop: threading.Event, check: Callable[[], None]) -> list[ReplicaUsage]:
        replicas = min(len(self._waiting), self._cluster.replicas or _automatic_replicas(self._resources))
        log.info("replicas: %d, shards to do: %d", replicas, len(self._waiting))
        self._hands = [Hand(replica=self._start_replica()) for _ in range(replicas)]
        self._hand_out()
        while calls := {call: hand for hand in self._hands for call in hand.calls}:
            check()
            if stop.is_set():
                raise self._progress.stopped()
            done, _ = ray.wait(list(calls), timeout=WAIT_S)
            for call in done:
                self._collect(calls[call], call)
            self._hand_out()
            if self._progress.is_due(self._cluster.progress_every_s):
                self._look()
        return self._usage()

    def _start_replica(self) -> Any:
        # One memory arena for all threads: with glibc's default, one per thread, a replica of the nano model came to
        # 1.50 to 1.57 GB instead of 1.32 to 1.40.
        environment = {"env_vars": {"MALLOC_ARENA_MAX": "1"}}
        concurrency = SHARDS_IN_HAND + 1  # and one that answers how far they are
        actor = ray.remote(max_restarts=0, max_concurrency=concurrency, runtime_env=environment, **self._resources)(
            _Replica
        )
        return actor.remote(self._setup)

    def _hand_out(self) -> None:
        while handout := next_handout(self._hands, self._waiting, self._needs_care):
            hand, spec = handout
            self._waiting.remove(spec)
            hand.calls[hand.replica.process.remote(spec, self._suspects.caution(spec.name))] = spec

    def _needs_care(self, spec: ShardSpec) -> bool:
        return self._suspects.caution(spec.name).noted

    def _collect(self, hand: Hand, call: Any) -> None:
        if call not in hand.calls:  # its replica died, and this call was looked at then
            return
        if error := self._take(hand, call):
            self._replace(hand, error)

    def _take(self, hand: Hand, call: Any, wait_s: float | None = None) -> RayError | None:
        """Count what a call has done; if its process, its node or its memory is gone, that is returned."""
        try:
            result: ShardResult = ray.get(call, timeout=wait_s)
        except RayTaskError as error:
            raise error.as_instanceof_cause() from error
        except RayError as error:
            return error
        del hand.calls[call]
        hand.collected += result.computed
        self._deaths_in_a_row = 0
        self._progress.add_computed(result.rows, result.computed, result.seconds)
        return None

    def _replace(self, hand: Hand, error: RayError) -> None:
        said = str(error).strip().splitlines()[0]
        ray.kill(hand.replica)  # it may only be out of reach: then the new one would have its work twice
        lost = [spec for call, spec in list(hand.calls.items()) if self._take(hand, call, DEATH_S)]
        log.warning("the replica at shard %s died (%s); its work goes to a new one", names(lost), said)
        hand.calls.clear()
        self._deaths_in_a_row += 1
        if guilty := self._suspects.after_death(lost, said):
            self._deaths_in_a_row = 0
            log.warning("key %s killed its replica again and is skipped: it will be recorded as failed", *guilty)
        if self._deaths_in_a_row >= DEATHS_IN_A_ROW * len(self._hands):
            raise ReplicaError(f"{self._deaths_in_a_row} replicas died in a row, none did a shard. Last: {said}")
        self._waiting.extendleft(reversed(lost))
        self._hands[self._hands.index(hand)] = Hand(replica=self._start_replica())

    def _usage(self) -> list[ReplicaUsage]:
        """Of the replicas that are there at the end, as far as they answer."""
        answers = self._ask(self._hands, lambda replica: replica.usage.remote())
        return [usage for usage in answers.values() if usage]

    def _look(self) -> None:
        """Say how far the run is, and end replicas that stand still: their calls end as those of any that died."""
        working = [hand for hand in self._hands if hand.calls]
        finished = self._ask(working, lambda replica: replica.finished.remote())
        in_flight = sum(count - hand.collected for hand, count in finished.items() if count is not None)
        log.info("%s", self._progress.line(in_flight))
        for hand in self._stalls.stalled(finished):
            shards, stall_s = names(hand.calls.values()), self._cluster.stall_after_s
            log.warning("no image of shard %s was finished for %.0f s; its replica is ended", shards, stall_s)
            ray.kill(hand.replica)

    def _ask(self, hands: Sequence[Hand], question: Callable[[Any], Any]) -> dict[Hand, Any]:
        """What replicas answer; None of those that do not within a second."""
        asked = {question(hand.replica): hand for hand in hands}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=1) if asked else ([], [])
        answers = dict.fromkeys(hands)
        for answer in ready:
            with suppress(RayActorError, GetTimeoutError):
                answers[asked[answer]] = ray.get(answer, timeout=1)
        return answers


def _resources(model: ModelConfig) -> dict[str, Any]:
    """What one replica takes of a node: a GPU where the cluster has any and the model may use it, else CPU cores."""
    has_gpu = ray.cluster_resources().get("GPU", 0) > 0
    if model.device == "cpu" or not has_gpu:
        return {"num_cpus": model.threads}
    return {"num_gpus": 1, "num_cpus": 1}


def _automatic_replicas(resources: dict[str, Any]) -> int:
    """As many as the cluster holds at this moment, at least one."""
    wanted, there = ("num_gpus", "GPU") if "num_gpus" in resources else ("num_cpus", "CPU")
    return max(1, int(ray.cluster_resources().get(there, 1) // resources[wanted]))


@contextmanager
def connected(*, for_training: bool = False) -> Iterator[None]:
    """The cluster of RAY_ADDRESS (a submitted job has it), else one in this process for as long as it is needed.

    Args: for_training: by Ray Train, whose workers tell themselves how far they are, and which asks the dashboard about
            its controller: without one it warned of that every second.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    local: dict[str, Any] = {}
    if address == "local":
        # Workers import us by name, from whatever folder the job was started in.
        checkout = {"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}}
        local = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": for_training, "runtime_env": checkout}
    with signals_kept():  # Ray's own handler of SIGTERM would end the process without a word
        ray.init(address=address, log_to_driver=for_training, logging_level=logging.WARNING, **local)
    try:
        yield
    finally:
        ray.shutdown()
