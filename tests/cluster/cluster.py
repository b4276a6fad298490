"""A Ray cluster on machines of a room: a head, nodes that come and go, and jobs that are submitted to it."""

import json
import os
import secrets
import shlex
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.replicas.local_ray import NO_AGENT
from tests.cluster import store
from tests.cluster.machines import DISK, Machine, command, wait_until

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.prefix).resolve() / "bin" / "python"
GCS_PORT, DASHBOARD_PORT = 6379, 8265
START_S = 90
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
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    numbers: list[int] = field(default_factory=lambda: [0])

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
            "PATH": f"{PYTHON.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }

    @property
    def url(self):
        """Of the head's dashboard, to which jobs are submitted."""
        return f"http://{self.head.address}:{DASHBOARD_PORT}"

    def start_head(self, *options, machine=None):
        """Start the head and wait until it answers."""
        self.head = machine or self.network.machine("head")
        log = self._ray_start(
            self.head, "--head", f"--port={GCS_PORT}", "--dashboard-host=0.0.0.0",
            f"--dashboard-port={DASHBOARD_PORT}", *options,
        )  # fmt: skip
        wait_until(lambda: self._answers("/api/jobs/"), START_S, log.read_text)

    def join(self, cpus=1, gpus=0, *options, name=None):
        """Add a node and wait until the cluster has it."""
        self.numbers[0] += 1
        node = self.network.machine(name or f"node{self.numbers[0]}")
        self.nodes.append(node)
        self.start_ray(node, cpus, gpus, *options)
        return node

    def start_ray(self, node, cpus=1, gpus=0, *options):
        """Start Ray on a machine and wait until the cluster has it."""
        log = self._ray_start(
            node, f"--address={self.head.address}:{GCS_PORT}", f"--num-cpus={cpus}", f"--num-gpus={gpus}", *options
        )
        wait_until(lambda: node.address in self.alive(), START_S, log.read_text)

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
        command(
            PYTHON.parent / "ray", "drain-node", f"--address={self.head.address}:{GCS_PORT}",
            f"--node-id={self.alive()[node.address]}", "--reason=DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message=spot", f"--deadline-remaining-seconds={deadline_s}", env=os.environ | self.environment,
        )  # fmt: skip

    def tidy(self):
        """Shut the nodes down, so that the next scenario finds none."""
        for node in self.nodes:
            node.plug() if node.is_on else None
            node.shut_down()
        gone = {node.address for node in self.nodes}
        self.nodes.clear()
        wait_until(lambda: not gone & self.alive().keys(), START_S, "nodes that were shut down are still listed")

    def submit(self, out, *options, **how):
        """Submit the main job, as `ray job submit` does; the command itself first imports Ray for seconds."""
        return self.submit_command(out, "python", "jobs/coco_pseudolabel.py", *options, "--out", out, **how)

    def submit_command(self, out, *words, **how):
        """Submit any job that belongs to a run."""
        client = self._client()
        entrypoint = shlex.join(map(str, words))
        deadline = time.monotonic() + START_S
        while True:
            try:
                environment = {"working_dir": str(ROOT)}
                return Job(self, client.submit_job(entrypoint=entrypoint, runtime_env=environment, **how), out)
            except RuntimeError as error:  # a head answers before its agent that starts jobs has registered
                if NO_AGENT not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def ask(self, path, timeout_s=10):
        """Ask the head's REST API."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)

    def _client(self):
        # Imported first: it chooses the authentication that Ray reads at import.
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self.url, headers={"Authorization": f"Bearer {self.token}"})

    def _answers(self, path):
        with suppress(OSError):
            return self.ask(path) is not None
        return False

    def _ray_start(self, machine, *options):
        return machine.start(
            PYTHON.parent / "ray", "start", "--block", f"--node-ip-address={machine.address}",
            f"--temp-dir={DISK}/ray", f"--object-store-memory={80 << 20}", "--disable-usage-stats",
            "--include-log-monitor=false", *options, environment=self.environment,
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
