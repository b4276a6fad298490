"""A private Ray head on this machine, for the demo and for tests; started and stopped through Ray's own commands.

Only processes that were started here are stopped. Every process of the cluster carries a mark in its environment, since
`ray stop` would stop every cluster on the machine, and a killed head leaves agents behind.
"""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import PipelineError

MARK = "SOD_LOCAL_RAY"
AGENT_PORT_OPTIONS = (
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)
NO_AGENT = "No available agent to submit job"
START_TIMEOUT_S = 90
ANSWER_TIMEOUT_S = 30
STOP_GRACE_S = 3
FOLLOW_EVERY_S = 0.3
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
"""States of a job that are not left any more."""
_PORTS = range(20_000, 32_768)


class LocalRayError(PipelineError):
    """The head did not start, or did not accept a job."""


class LocalRay:
    """A running head: how to reach it and how to stop it.

    Args: gpus: that it gives to replicas; None: those that Ray finds on this machine.
    """

    def __init__(self, cpus: int, gpus: int | None = None) -> None:
        self.mark = uuid.uuid4().hex
        # A short path, since it holds Ray's sockets, whose names are limited to about 107 bytes. It is for this user
        # alone; the folder inside is Ray's, which opens it to everybody.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        gcs_port, dashboard_port, client_port, *agent_ports = _free_ports(7)
        self.address = f"127.0.0.1:{gcs_port}"
        self.environment = os.environ | {
            MARK: self.mark,
            # Head, submission and drivers share the token, which never touches a file or a command line.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard_port}",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        self.environment.pop("RAY_ADDRESS", None)
        command = [
            *("ray", "start", "--head", "--block", f"--num-cpus={cpus}", "--disable-usage-stats"),
            *("--node-ip-address=127.0.0.1", f"--port={gcs_port}", f"--ray-client-server-port={client_port}"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard_port}"),
            # By default the agent that starts jobs listens on a fixed port. If an earlier agent had just used it,
            # the new one could not bind, and the head accepted no job for minutes.
            *(f"--{option}={port}" for option, port in zip(AGENT_PORT_OPTIONS, agent_ports, strict=True)),
            *([] if gpus is None else [f"--num-gpus={gpus}"]),
            *(f"--temp-dir={self.folder / 'r'}", f"--object-store-memory={100 << 20}"),
            # Nothing scales this cluster, and jobs write their own logs.
            *("--no-monitor", "--include-log-monitor=false"),
        ]
        self._log = (self.folder / "head.log").open("wb")
        self._head = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the job's follower; the head is stopped by `stop`
        )
        self._root = psutil.Process(self._head.pid)

    def wait_until_ready(self) -> None:
        """Wait until jobs can be submitted.

        Raises: LocalRayError: the head ended or did not answer in time. The message has the end of its log.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._head.poll() is None:
            with contextlib.suppress(OSError):
                self._ask("/api/jobs/")
                return
            time.sleep(0.1)
        log = (self.folder / "head.log").read_text(errors="replace")[-2000:]
        raise LocalRayError(f"the Ray head did not start within {START_TIMEOUT_S} s. The end of its log:\n{log}")

    def run(self, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
        """Run `ray …` against this head."""
        return subprocess.run(
            ["ray", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=capture,
            text=True,
            check=False,
        )

    def submit(self, entrypoint: Sequence[str], working_dir: Path | None) -> str:
        """Submit a job. Returns its submission id once it is accepted.

        Args:   working_dir: folder that is uploaded, and in which the job runs; None: Ray's own.
        Raises: LocalRayError: it was not accepted.
        """
        submission = f"job-{uuid.uuid4().hex[:8]}"
        upload = ("--working-dir", str(working_dir)) if working_dir else ()
        options = ("--submission-id", submission, *upload, "--no-wait")
        deadline = time.monotonic() + START_TIMEOUT_S
        submitted = self.run("job", "submit", *options, "--", *entrypoint, capture=True)
        # A head answers before its agent that starts jobs has registered. Nothing is submitted then.
        while NO_AGENT in submitted.stderr and time.monotonic() < deadline:
            time.sleep(0.5)
            submitted = self.run("job", "submit", *options, "--", *entrypoint, capture=True)
        if submitted.returncode:
            raise LocalRayError(f"ray job submit failed:\n{submitted.stdout}{submitted.stderr}")
        return submission

    def follow(self, submission: str) -> None:
        """Print the job's output until it ends, or until the head does not answer any more."""
        printed, ended = 0, False
        with contextlib.suppress(OSError):
            while not ended:
                ended = self.job(submission)["status"] in ENDED  # asked first: nothing is written after it
                logs = self.logs(submission)
                print(logs[printed:], end="", flush=True)
                printed = len(logs)
                time.sleep(0 if ended else FOLLOW_EVERY_S)

    def succeeded(self, submission: str) -> bool:
        """Did the job succeed? False too if the head does not answer any more."""
        try:
            return bool(self.job(submission)["status"] == "SUCCEEDED")
        except OSError:
            return False

    def job(self, submission: str) -> dict[str, Any]:
        """What the head knows about the job: `status` (PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED),
        `driver_exit_code`, and more.

        Raises: OSError: the head does not answer, or does not know the job.
        """
        about: dict[str, Any] = self._ask(f"/api/jobs/{submission}")
        return about

    def logs(self, submission: str) -> str:
        """What the job has printed so far.

        Raises: OSError: the head does not answer, or does not know the job.
        """
        return str(self._ask(f"/api/jobs/{submission}/logs")["logs"])

    def _ask(self, path: str) -> Any:
        """Ask Ray's REST API for jobs. It answers in milliseconds; each `ray job …` command first imports Ray for a
        second or two, on the cores that the job needs."""
        request = urllib.request.Request(
            self.environment["RAY_API_SERVER_ADDRESS"] + path,
            headers={"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"},
        )
        # No proxy: one that the environment names for the internet does not know this machine's ports.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=ANSWER_TIMEOUT_S) as answer:
                return json.load(answer)
        except http.client.HTTPException as error:  # the head ended in the middle of its answer
            raise OSError(f"the Ray head's answer to {path} broke off") from error

    def stop(self) -> None:
        """End every process of this cluster and remove its folder.

        Drivers and workers are given time to end by themselves. Ray's own services are not: they have nothing to
        finish, and the raylet takes longer than that to say goodbye to the others.
        """
        family = self.processes()  # before the head ends: orphans are nobody's children
        services = self._services()
        for number in (signal.SIGTERM, signal.SIGKILL):
            family |= self.processes()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            deadline = time.monotonic() + STOP_GRACE_S
            waited_for = family - services if number == signal.SIGTERM else family
            while any(map(_is_alive, waited_for)) and time.monotonic() < deadline:
                self._head.poll()  # or it would stay a zombie
                time.sleep(0.1)
        self._head.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _services(self) -> set[psutil.Process]:
        """The head and what it started itself; drivers and workers are started by these."""
        try:
            return {self._root, *self._root.children()}
        except psutil.NoSuchProcess:
            return {self._root}

    def processes(self) -> set[psutil.Process]:
        """All live processes of this cluster: those that carry its mark, and the descendants of the head.

        Ray's agents and workers write their title over their environment, so the mark alone misses some. psutil knows a
        process by number and start time: process numbers wrap around within the hour where many processes start (at
        32,768 by default), and a number from a minute ago may belong to somebody else.
        """
        found = _processes_with(f"{MARK}={self.mark}") | descendants(self._root)
        return {process for process in found - {psutil.Process()} if _is_alive(process)}


@contextlib.contextmanager
def local_ray(cpus: int) -> Iterator[LocalRay]:
    """Start a head, wait until it is ready, and stop it afterwards whatever happens."""
    head = LocalRay(cpus)
    try:
        head.wait_until_ready()
        yield head
    finally:
        head.stop()


def descendants(process: psutil.Process) -> set[psutil.Process]:
    """The process itself, its children, their children, and so on; nothing if it has ended."""
    try:
        return {process, *process.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _is_alive(process: psutil.Process) -> bool:
    """Is it running? A zombie that waits for its parent is not."""
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _processes_with(setting: str) -> set[psutil.Process]:
    found = set()
    for process in psutil.process_iter():
        # It has ended, or belongs to another user.
        with contextlib.suppress(psutil.Error, OSError):
            if setting.encode() in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                found.add(process)
    return found


def _free_ports(count: int) -> list[int]:
    """Choose ports that nobody listens on.

    They lie below the range from which Linux takes ports for connections and for whoever asks for any: between this
    choice and Ray's use of it, seconds later, one of those was taken now and then. Ray's agent then ends, the raylet
    with it, and every driver of the cluster by `exit(1)`. Ray's workers use 10002 to 19999.
    """
    with contextlib.ExitStack() as stack:  # all are held open together, so that they differ
        ports: list[int] = []
        while len(ports) < count:
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("", secrets.choice(_PORTS)))
                ports.append(one.getsockname()[1])
        return ports
