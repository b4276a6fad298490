"""What a replica takes from its node, and how many each node of the Ray cluster has room for."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from model.config import ModelConfig
from pipeline.config import ClusterConfig, amounts_of, labels_of
from pipeline.devices import require_device_of_cluster
from pipeline.replicas.fleet import Node
from pipeline.replicas.on_ray.authenticated import ray

_NODE_ID = "ray.io/node-id"
"""Label that every node has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one replica takes from its node."""

    amounts: Mapping[str, float]
    """Resource → amount, by the names that Ray has for them."""
    labels: Mapping[str, str]
    """That the node must have."""

    @property
    def device(self) -> str:
        """What `--device auto` means for a replica: a GPU that it was given is to be used, or the node is at fault."""
        return "cuda" if "GPU" in self.amounts else "cpu"

    def options(self, avoid: Collection[str]) -> dict[str, Any]:
        """Options of a Ray actor. Args: avoid: ids of nodes on which it must not be placed."""
        selector = dict(self.labels)
        if avoid:
            selector[_NODE_ID] = f"!in({','.join(sorted(avoid))})"
        return {
            "num_cpus": self.amounts.get("CPU", 0),
            "num_gpus": self.amounts.get("GPU", 0),
            "resources": {
                name: amount for name, amount in self.amounts.items() if name not in ("CPU", "GPU", "memory")
            },
            **({"memory": self.amounts["memory"]} if "memory" in self.amounts else {}),
            **({"label_selector": selector} if selector else {}),
        }

    def slots(self, resources: Mapping[str, float], labels: Mapping[str, str]) -> int:
        """How many replicas fit on a node that nobody else uses."""
        if any(labels.get(label) != value for label, value in self.labels.items()):
            return 0
        return min(math.floor(resources.get(name, 0) / amount + 1e-9) for name, amount in self.amounts.items())


def needs_of(model: ModelConfig, cluster: ClusterConfig) -> Needs:
    """Decide what one replica takes: a GPU if the cluster has one, or could have one, and the model may use it.

    Raises: ConfigError: the model needs a GPU, and the cluster can't have one.
    """
    gpus = max(ray.cluster_resources().get("GPU", 0), _could_have().get("GPU", 0))
    require_device_of_cluster(model.device, gpus)
    amounts: dict[str, float] = {"CPU": model.threads}
    if model.device != "cpu" and gpus:
        amounts = {"GPU": cluster.gpus_per_replica, "CPU": 1}
    return Needs(amounts=amounts | amounts_of(cluster.resources), labels=labels_of(cluster.labels))


def can_grow() -> bool:
    """Does an autoscaler add nodes to the cluster?"""
    return bool(_could_have())


def _could_have() -> Mapping[str, float]:
    """Most resources that the autoscaler says it can provide; empty without one."""
    return ray._private.state.state.get_max_resources_from_cluster_config() or {}


def live_nodes(needs: Needs) -> dict[str, Node]:
    """Id → node, of all nodes that live. A name that several nodes have gets the beginning of the id."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    draining = ray._private.state.state.get_draining_nodes()
    shared = Counter(node["NodeName"] for node in nodes)
    own = ray.get_runtime_context().get_node_id()
    return {
        node["NodeID"]: Node(
            name=node["NodeName"] if shared[node["NodeName"]] == 1 else f"{node['NodeName']}/{node['NodeID'][:6]}",
            slots=needs.slots(node["Resources"], node.get("Labels") or {}),
            is_draining=node["NodeID"] in draining,
            is_drivers=node["NodeID"] == own,
        )
        for node in nodes
    }
