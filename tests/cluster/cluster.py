"""A Ray cluster on machines of a room: a head, nodes that come and go, and jobs that are submitted to it."""

import itertools
import json
import os
import secrets
import shlex
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.replicas.local_ray import AGENT_PORT_OPTIONS, NO_AGENT
from tests.cluster import store
from tests.cluster.machines import DISK, Machine, command, wait_until

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.prefix).resolve() / "bin" / "python"
GCS_PORT, DASHBOARD_PORT = 6379, 8265
START_S = 180
"""Longest time for a program of a machine to start."""
JOB_S = float(os.environ.get("CLUSTER_JOB_S", "400"))
"""Longest time for a job; those that are stuck for ever are found by it."""


@dataclass
class Lab:
    """All that a scenario uses: the switch, the object store, the head, and the nodes of the scenario."""

    network: object
    store: Machine
    head: Machine = None
    nodes: list[Machine] = field(default_factory=list)
    more_environment: dict = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    numbers: object = field(default_factory=lambda: itertools.count(1))

    @property
    def environment(self):
        """Of everything on the machines: how the store is reached and what the cluster's token is."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.store.address}:{store.PORT}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            # On a busy machine an agent takes longer than the 15 s after which the raylet would end.
            "RAY_agent_register_timeout_ms": str(START_S * 1000),
            "PATH": f"{PYTHON.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }

    @property
    def url(self):
        """Of the head's dashboard, to which jobs are submitted."""
        return f"http://{self.head.address}:{DASHBOARD_PORT}"

    def start_head(self, *options, machine=None):
        """Start the head and wait until it answers. Args: machine: a new one by default."""
        self.head = machine or self.network.machine("head")
        self._start_all(
            [self.head], "--head", f"--port={GCS_PORT}", "--dashboard-host=0.0.0.0",
            f"--dashboard-port={DASHBOARD_PORT}", *options,
        )  # fmt: skip

    def have(self, count, cpus=1, gpus=0):
        """Exactly so many sound nodes of a kind: those that earlier scenarios left as they were, and new ones."""
        alive = self.alive()
        sound = [node for node in self.nodes if node.address in alive and (node.cpus, node.gpus) == (cpus, gpus)]
        self._remove([node for node in self.nodes if node not in sound[:count]])
        self._join([self._node(cpus, gpus) for _ in range(count - len(self.nodes))])
        return list(self.nodes)

    def join(self, cpus=1, gpus=0, *options):
        """Add a node and wait until the cluster has it."""
        node = self._node(cpus, gpus)
        self._join([node], *options)
        return node

    def _node(self, cpus, gpus):
        number = next(self.numbers)
        node = self.network.machine(f"node{number}")
        node.cpus, node.gpus = cpus, gpus
        return node

    def _join(self, nodes, *options):
        """Add nodes of one kind."""
        self.nodes += nodes
        for node in nodes[:1]:
            address = f"--address={self.head.address}:{GCS_PORT}"
            self._start_all(nodes, address, f"--num-cpus={node.cpus}", f"--num-gpus={node.gpus}", *options)

    def _start_all(self, machines, *options):
        """Start Ray on machines, and wait until the cluster has them."""
        logs = {}

        def is_there(machine):
            if not machine.programs():  # on a busy machine `ray start` gives up after 30 s, and no option changes that
                logs[machine] = self._ray_start(machine, *options)
            return machine.address in self.alive()

        for machine in machines:
            is_there(machine)
        for machine in machines:
            wait_until(
                lambda machine=machine: is_there(machine), START_S, lambda machine=machine: logs[machine].read_text()
            )

    def _remove(self, nodes):
        """Shut nodes down, and wait until the cluster has noticed."""
        for node in nodes:
            if node.is_on:
                node.plug()
            node.shut_down()
            self.nodes.remove(node)
        gone = {node.address for node in nodes}
        wait_until(lambda: not gone & self.alive().keys(), START_S, "nodes that were shut down are still listed")

    def alive(self):
        """Address → id of the nodes that the cluster takes for alive."""
        try:
            found = self.ask("/api/v0/nodes?limit=1000&detail=0")["data"]["result"]["result"]
        except (OSError, TypeError, KeyError):
            return {}
        return {node["node_ip"]: node["node_id"] for node in found if node["state"] == "ALIVE"}

    def actors(self):
        """What the cluster knows of its actors, dead ones too."""
        return self.ask("/api/v0/actors?limit=1000&detail=1")["data"]["result"]["result"]

    def drain(self, node, deadline_s):
        """Give notice that a node will be taken away, as clouds do for spot machines."""
        node.is_spoiled = True
        command(
            PYTHON.parent / "ray", "drain-node", f"--address={self.head.address}:{GCS_PORT}",
            f"--node-id={self.alive()[node.address]}", "--reason=DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message=spot", f"--deadline-remaining-seconds={deadline_s}", env=os.environ | self.environment,
        )  # fmt: skip

    def tidy(self):
        """Remove the nodes that a scenario has spoiled."""
        alive = self.alive()
        self._remove([node for node in self.nodes if node.is_spoiled or node.address not in alive])

    def submit(self, out, *options, **how):
        """Submit the main job, as `ray job submit` does; the command itself first imports Ray for seconds."""
        return self.submit_command(out, "python", "jobs/coco_pseudolabel.py", *options, "--out", out, **how)

    def submit_command(self, out, *words, **how):
        """Submit any job that belongs to a run."""
        entrypoint = shlex.join(map(str, words))
        deadline = time.monotonic() + START_S
        while True:
            try:
                environment = {"working_dir": str(ROOT)}
                return Job(self, self._client().submit_job(entrypoint=entrypoint, runtime_env=environment, **how), out)
            # A head answers before its agent that starts jobs has registered, and hangs up while it starts.
            except (RuntimeError, OSError) as error:
                if (isinstance(error, RuntimeError) and NO_AGENT not in str(error)) or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def ask(self, path, timeout_s=10):
        """Ask the head's REST API."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)

    def _client(self):
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self.url, headers={"Authorization": f"Bearer {self.token}"})

    def _ray_start(self, machine, *options):
        return machine.start(
            PYTHON.parent / "ray", "start", "--block", f"--node-ip-address={machine.address}",
            f"--node-name={machine.name}",
            f"--temp-dir={DISK}/ray", f"--object-store-memory={80 << 20}", "--disable-usage-stats",
            *(f"--{option}={port}" for port, option in enumerate(AGENT_PORT_OPTIONS, 20_001)),
            "--include-log-monitor=false", *options, environment=self.environment | self.more_environment,
        )  # fmt: skip


@dataclass
class Job:
    """A submitted job."""

    lab: Lab
    submission: str
    out: str

    def status(self):
        """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
        return self.about()["status"]

    def about(self):
        return self.lab.ask(f"/api/jobs/{self.submission}")

    def exit_code(self):
        """Of the script; None if it was killed."""
        return self.about()["driver_exit_code"]

    def logs(self):
        return str(self.lab.ask(f"/api/jobs/{self.submission}/logs")["logs"])

    def ends(self, how, timeout_s=JOB_S):
        """Wait until it has ended, as `how` says. One that does not end is stopped, and fails the test."""
        deadline = time.monotonic() + timeout_s
        while (status := self.status()) in ("PENDING", "RUNNING"):
            if time.monotonic() > deadline:
                said = self.last_lines()
                self.stop()
                raise AssertionError(f"it did not end in {timeout_s:.0f} s. Its last lines:\n{said}")
            time.sleep(0.5)
        assert status == how, self.last_lines()

    def last_lines(self, count=25):
        return "\n".join(self.logs().splitlines()[-count:])

    def stop(self):
        self.lab._client().stop_job(self.submission)
        wait_until(lambda: self.status() not in ("PENDING", "RUNNING"), 60, "it did not stop")

    def report(self):
        """The JSON line that the script prints last."""
        return json.loads([line for line in self.logs().splitlines() if line.startswith('{"accepted')][-1])
