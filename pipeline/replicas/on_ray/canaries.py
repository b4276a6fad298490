"""A canary on every node of a Ray cluster; `pipeline/replicas/canary.py` says what it looks at."""

import time
from collections.abc import Mapping

from pipeline.config import ClusterConfig
from pipeline.errors import Stopped
from pipeline.progress.stages import stage
from pipeline.replicas.canary import Finding, canary_request, look, no_answer
from pipeline.replicas.on_ray.authenticated import ray
from pipeline.replicas.on_ray.connection import connected
from pipeline.replicas.on_ray.placement import live_nodes, needs_of
from pipeline.replicas.setup import Setup
from pipeline.replicas.signals import stop_flag

PATIENCE_S = 300.0
"""How long a node may take to answer; it may have to install the job's packages first. One that takes longer is not
judged: its replicas prove what they have."""
_WAIT_S = 0.5


def look_from_nodes(setup: Setup, cluster: ClusterConfig) -> list[Finding]:
    """Send a canary to every node that could hold a replica.

    Returns: what those that answered have found.
    Raises:  ConfigError: as `needs_of`. Stopped: SIGTERM or SIGINT came. StorageError, OSError: as `canary_request`.
    """
    with connected(), stage("looking at what the nodes have"):
        nodes = live_nodes(needs_of(setup.model, cluster))
        fitting = {node_id: node.name for node_id, node in nodes.items() if node.slots and not node.is_draining}
        return look_from(fitting, setup)


def look_from(nodes: Mapping[str, str], setup: Setup) -> list[Finding]:
    """Send a canary to each of these nodes. Args: nodes: id → name. Returns, Raises: as `look_from_nodes`."""
    until_s = time.monotonic() + PATIENCE_S
    with canary_request(setup) as request, stop_flag() as stop:
        sent = {_send(node, request, name): name for node, name in nodes.items()}
        found, waiting = [], list(sent)
        while waiting and time.monotonic() < until_s:
            if stop.is_set():
                raise Stopped("asked to stop before any work. Run the same command again")
            ready, waiting = ray.wait(waiting, timeout=_WAIT_S)
            found += [finding for ref in ready if (finding := _answer(ref, sent[ref]))]
        for ref in waiting:
            ray.cancel(ref, force=True)
        if stop.is_set():
            raise Stopped("asked to stop before any work. Run the same command again")
        return found


def _send(node: str, request: object, name: str) -> ray.ObjectRef:
    pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=pinned)(look)
    reference: ray.ObjectRef = task.remote(request, name)
    return reference


def _answer(reference: ray.ObjectRef, node: str) -> Finding | None:
    """None: the node, or its worker, is gone; nothing is concluded about what it lacks."""
    try:
        finding: Finding = ray.get(reference)
        return finding
    except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError) as error:
        return no_answer(node, str(error).strip().splitlines()[-1][:300])
    except ray.exceptions.RayError:
        return None
