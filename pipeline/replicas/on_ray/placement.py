"""What a replica takes from its node, and how many each node of the Ray cluster has room for."""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from model.config import ModelConfig
from pipeline.config import ClusterConfig, amounts_of, labels_of
from pipeline.devices import require_device_of_cluster
from pipeline.replicas.fleet import Node
from pipeline.replicas.on_ray.authenticated import ray

_ROUNDING = 1e-9
_NODE_ID = "ray.io/node-id"
"""Label that every node has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one replica takes from its node."""

    amounts: Mapping[str, float]
    """Resource → amount, by the names that Ray has for them."""
    labels: Mapping[str, str]
    """That the node must have."""
    needs_growth: bool = False
    """The cluster has no GPU yet: its autoscaler has to add one."""

    @property
    def device(self) -> str:
        """What `--device auto` means for a replica: a GPU that it was given is to be used, or the node is at fault."""
        return "cuda" if "GPU" in self.amounts else "cpu"

    def options(self, avoid: Collection[str]) -> dict[str, Any]:
        """Options of a Ray actor. Args: avoid: ids of nodes on which it must not be placed."""
        return {
            "num_cpus": self.amounts.get("CPU", 0),
            "num_gpus": self.amounts.get("GPU", 0),
            "resources": {
                name: amount for name, amount in self.amounts.items() if name not in ("CPU", "GPU", "memory")
            },
            **({"memory": self.amounts["memory"]} if "memory" in self.amounts else {}),
            **_avoiding(avoid, self.labels),
        }

    def slots(self, resources: Mapping[str, float], labels: Mapping[str, str]) -> int:
        """How many replicas fit into these resources of a node. A replica's share of a GPU is of one GPU."""
        if any(labels.get(label) != value for label, value in self.labels.items()):
            return 0
        return min(self._times(name, resources.get(name, 0.0)) for name in self.amounts)

    def _times(self, name: str, there: float) -> int:
        amount = self.amounts[name]
        if name == "GPU" and amount < 1 and there >= 1:
            return math.floor(1 / amount + _ROUNDING) * math.floor(there + _ROUNDING)
        return math.floor(there / amount + _ROUNDING)


def needs_of(model: ModelConfig, cluster: ClusterConfig) -> Needs:
    """Decide what one replica takes: a GPU if the cluster has one, or might get one, and the model may use it.

    Raises: ConfigError: the model needs a GPU, and the cluster can't have one.
    """
    gpus = ray.cluster_resources().get("GPU", 0)
    might = not gpus and can_grow()
    require_device_of_cluster(model.device, gpus or might)
    amounts: dict[str, float] = {"CPU": model.threads}
    if model.device != "cpu" and (gpus or might):
        amounts = {"GPU": cluster.gpus_per_replica, "CPU": 1}
    return Needs(
        amounts=amounts | amounts_of(cluster.resources),
        labels=labels_of(cluster.labels),
        needs_growth=might and "GPU" in amounts,
    )


def can_grow() -> bool:
    """Does an autoscaler add nodes to the cluster?

    Ray has no call for it. Its first autoscaler writes a report, in which nodes of a cluster that nobody scales have
    types of their own, `node_` and their id; the second one says that it is there.
    """
    if _read(b"__autoscaler_v2_enabled", b"__autoscaler") == b"1":
        return True
    try:
        types = json.loads(_read(b"__autoscaling_status") or b"{}")["autoscaler_report"]["active_nodes"]
        return any(not name.startswith("node_") for name in types)
    except (ValueError, KeyError, TypeError):
        return False


def _read(key: bytes, namespace: bytes | None = None) -> bytes | None:
    found: bytes | None = ray.experimental.internal_kv._internal_kv_get(key, namespace=namespace)
    return found


_NAMES: dict[str, str] = {}
"""Id → name of every node that was seen. A name is kept: one that changed would look like a node that went."""


def live_nodes(needs: Needs) -> dict[str, Node]:
    """Id → node, of all nodes that live. A name that another node has had gets the beginning of the id."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    draining = ray._private.state.state.get_draining_nodes()
    available = ray._private.state.state.available_resources_per_node()
    own = ray.get_runtime_context().get_node_id()
    return {
        node["NodeID"]: Node(
            name=_name(node),
            slots=needs.slots(node["Resources"], node.get("Labels") or {}),
            free=needs.slots(available.get(node["NodeID"], {}), node.get("Labels") or {}),
            is_draining=node["NodeID"] in draining,
            is_drivers=node["NodeID"] == own,
        )
        for node in nodes
    }


_UNFIT: set[str] = set()
"""Names of nodes that can't do the work of this process's run; its tasks read the same images."""


def keep_tasks_from(nodes: Iterable[str]) -> None:
    """Let later tasks of this process run on other nodes than these, if others have a core."""
    _UNFIT.update(nodes)


def options_of_tasks() -> dict[str, Any]:
    """Options of Ray tasks that take a core each."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    unfit = {node["NodeID"] for node in nodes if _name(node) in _UNFIT}
    has_others = any(node["Resources"].get("CPU", 0) >= 1 for node in nodes if node["NodeID"] not in unfit)
    return {"num_cpus": 1, **(_avoiding(unfit) if has_others else {})}


def _avoiding(node_ids: Collection[str], labels: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    selector = dict(labels)
    if node_ids:
        selector[_NODE_ID] = f"!in({','.join(sorted(node_ids))})"
    return {"label_selector": selector} if selector else {}


def _name(node: Mapping[str, Any]) -> str:
    node_id, name = node["NodeID"], node["NodeName"]
    if node_id not in _NAMES:
        _NAMES[node_id] = f"{name}/{node_id[:6]}" if name in _NAMES.values() else name
    return _NAMES[node_id]
