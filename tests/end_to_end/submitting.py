"""What the tests do with submitted jobs: wait for them, stop and kill them, compare what they left."""

import hashlib
import json
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.replicas.local_ray import NO_AGENT, LocalRay

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "pipeline" / "sample"
INPUT = ("--images", str(SAMPLE / "images"), "--annotations", str(SAMPLE / "instances_sample.json"))
TIMEOUT_S = 100


@dataclass(frozen=True)
class Job:
    """A submitted job of the main script."""

    head: LocalRay
    submission: str

    def status(self):
        """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
        return self.head.job(self.submission)["status"]

    def exit_code(self):
        """Of the script; None if it was killed."""
        return self.head.job(self.submission)["driver_exit_code"]

    def wait(self):
        """Until it has ended; returns its status."""
        deadline = time.monotonic() + TIMEOUT_S
        while (status := self.status()) in ("PENDING", "RUNNING"):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.3)
        return status

    def logs(self):
        return self.head.logs(self.submission)

    def report(self):
        """The JSON line that the script prints last."""
        return json.loads([line for line in self.logs().splitlines() if line.startswith('{"accepted')][-1])

    def stop(self):
        """As `ray job stop` does, which first imports Ray for seconds."""
        client_of(self.head).stop_job(self.submission)

    def driver(self):
        """The script, and the shell that Ray starts it with."""
        return self._processes(lambda command: b"jobs/coco_pseudolabel.py" in command and b"--out" in command)

    def replicas(self):
        """The processes of its replicas."""
        return self._processes(lambda command: command.startswith(b"ray::Replica"))

    def kill_driver(self):
        return kill(self.driver())

    def kill_replicas(self):
        return kill(self.replicas())

    def _processes(self, is_meant):
        found = []
        for process in self.head.processes():
            with suppress(ProcessLookupError, FileNotFoundError):  # it has ended
                if is_meant(Path(f"/proc/{process.pid}/cmdline").read_bytes()):
                    found.append(process)
        return found


def client_of(head):
    """What `ray job …` asks the head with."""
    # Imported first: it chooses the authentication that Ray reads at import.
    import pipeline.replicas.on_ray.authenticated  # noqa: F401

    # isort: split
    from ray.job_submission import JobSubmissionClient

    token = head.environment["RAY_AUTH_TOKEN"]
    return JobSubmissionClient(head.environment["RAY_API_SERVER_ADDRESS"], headers={"Authorization": f"Bearer {token}"})


def submit_script(head, entrypoint, working_dir=ROOT, *, environment=None, submission=None):
    """Submit a script with a folder, as `ray job submit` does; the command itself first imports Ray for seconds."""
    client = client_of(head)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            surroundings = {"working_dir": str(working_dir), "env_vars": environment or {}}
            command = shlex.join(entrypoint)
            return Job(head, client.submit_job(entrypoint=command, runtime_env=surroundings, submission_id=submission))
        except RuntimeError as error:  # a head answers before its agent that starts jobs has registered
            if NO_AGENT not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def kill(processes):
    """As a power cut does; returns how many there were.

    Each is known by number and start time (psutil), so a number that another process has now is left alone.
    """
    killed = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            killed += 1
    assert killed, "nothing was there to be killed"
    return killed


def run_script(out, *options, env=None):
    """The same job as a plain script."""
    command = [sys.executable, "jobs/coco_pseudolabel.py", *INPUT, "--out", str(out), *map(str, options)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def run_inline(out, *options):
    """The same job as a plain script, in one process without Ray."""
    return run_script(out, "--engine", "inline", *options)


def wait_for_commits(out, count, timeout_s=TIMEOUT_S):
    """Until so many shards are committed."""
    deadline = time.monotonic() + timeout_s
    while len(list((out / "commits").glob("*.json"))) < count:
        assert time.monotonic() < deadline, "no commits came"
        time.sleep(0.05)


def digests(out):
    """Path → SHA-256 of every file of the candidates and the release of a run."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("candidates", "commits", "release")
        for path in sorted((out / folder).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
