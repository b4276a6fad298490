"""A second node of the tests' cluster, on this machine: it can be lost at any time, with all that runs there."""

import contextlib
import subprocess
import time

import psutil

from pipeline.replicas.local_ray import AGENT_PORT_OPTIONS, _free_ports, descendants
from tests.end_to_end.submitting import kill

START_S = 90
ADDRESS = "127.0.0.2"


class Node:
    """Processes of a node."""

    def __init__(self, head, cpus):
        ports = _free_ports(len(AGENT_PORT_OPTIONS))
        command = [
            *("ray", "start", "--block", f"--address={head.address}", f"--node-ip-address={ADDRESS}"),
            *(f"--num-cpus={cpus}", "--disable-usage-stats", f"--object-store-memory={80 << 20}"),
            *(f"--{option}={port}" for option, port in zip(AGENT_PORT_OPTIONS, ports, strict=True)),
            *("--min-worker-port=0", "--max-worker-port=0", "--include-log-monitor=false"),
        ]
        self._log = (head.folder / "node.log").open("wb")
        self._node = subprocess.Popen(
            command, env=head.environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )

    @property
    def is_there(self):
        return self._node.poll() is None

    def wait_until_joined(self):
        """Until the cluster has it. This process must be connected."""
        import ray

        deadline = time.monotonic() + START_S
        while not any(node["Alive"] and node["NodeManagerAddress"] == ADDRESS for node in ray.nodes()):
            assert self.is_there, "the node ended"
            assert time.monotonic() < deadline, "the node did not join"
            time.sleep(0.2)

    def lose(self):
        """All its processes end at once."""
        if self.is_there:
            kill(descendants(psutil.Process(self._node.pid)))
        self._node.wait()
        self._log.close()


@contextlib.contextmanager
def second_node(head, cpus):
    """Start a node, and lose it in the end if it is still there."""
    node = Node(head, cpus)
    try:
        node.wait_until_joined()
        yield node
    finally:
        node.lose()
