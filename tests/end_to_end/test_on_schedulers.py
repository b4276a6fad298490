"""What schedulers do with the recipes of `jobs/recipes`, on real Ray clusters: a Slurm job of two nodes whose time is
up and that is requeued, how a RayJob's command ends, and the first job on a cluster whose Python has only Ray.
"""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import yaml

from pipeline.replicas.local_ray import LocalRay
from tests.end_to_end.submitting import INPUT, ROOT, digests, submit_script, wait_for_commits

pytestmark = [pytest.mark.ray, pytest.mark.thorough]

STAND_INS = {
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "scontrol": 'echo "$*" >> "$CALLS"',
    "sod": 'exit "$CODE"',
}


@pytest.fixture
def stand_ins(tmp_path):
    """A folder with Slurm's commands, for one machine, and a job that only ends."""
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    for name, script in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def start_slurm(stand_ins, tmp_path):
    """Starts the Slurm recipe as its job's first node does; two Ray nodes are on this machine."""
    environment = os.environ | {
        "PATH": f"{stand_ins}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(tmp_path / "scontrol.log"),
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SOD_VENV": sys.prefix,
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURMD_NODENAME": "localhost",
        "SOD_HEAD_IP": "127.0.0.1",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_ON_NODE": "1",
    }
    environment.pop("RAY_ADDRESS", None)
    log = tmp_path / "slurm.log"
    jobs = []

    def start(out, *options):
        command = ["bash", "jobs/recipes/slurm.sh", *INPUT, "--shard-size", "4", "--out", str(out), *options]
        with log.open("ab") as file:
            jobs.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT))
        return jobs[-1]

    start.log = log
    start.requeued = tmp_path / "scontrol.log"
    yield start
    for job in jobs:
        job.terminate()  # its cluster ends with it
        job.wait()


@pytest.mark.timeout(900)
def test_a_slurm_job_whose_time_is_up_is_requeued_and_resumes_to_the_same_bytes(start_slurm, tmp_path, undisturbed):
    out = tmp_path / "run"
    job = start_slurm(out, "--model", "fake:sleep_s=2")
    wait_for_commits(out, 2, timeout_s=300)
    while "replicas: 2, " not in start_slurm.log.read_text():  # the other node takes part
        assert job.poll() is None, start_slurm.log.read_text()
        time.sleep(0.1)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=200) == 1, start_slurm.log.read_text()
    assert start_slurm.requeued.read_text() == f"requeue {os.getpid()}\n"
    assert 2 <= len(list((out / "commits").glob("*.json"))) < 10

    assert start_slurm(out, "--model", "fake").wait(timeout=300) == 0, start_slurm.log.read_text()
    assert "resuming: " in start_slurm.log.read_text()
    assert digests(out) == undisturbed
    assert not os.path.exists(f"/tmp/sod-{os.getpid()}")


@pytest.mark.parametrize(("code", "status"), [(0, "SUCCEEDED"), (1, "FAILED"), (2, "STOPPED"), (3, "STOPPED")])
def test_the_job_of_a_rayjob_fails_where_a_retry_helps_and_is_stopped_where_none_does(head, stand_ins, code, status):
    spec = yaml.safe_load((ROOT / "jobs/recipes/kuberay.yaml").read_text(encoding="utf-8"))["spec"]
    name = f"{spec['jobId']}-{code}"
    command = shlex.split(
        spec["entrypoint"]
        .replace("http://127.0.0.1:8265", head.environment["RAY_API_SERVER_ADDRESS"])
        .replace(f"{spec['jobId']};", f"{name};")
    )
    environment = yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]
    environment |= {"CODE": str(code), "PATH": f"{stand_ins}{os.pathsep}{head.environment['PATH']}"}
    job = submit_script(head, command, environment=environment, submission=name)
    assert job.wait() == status, job.logs()


@pytest.mark.timeout(3600)
def test_a_cluster_whose_python_has_only_ray_gets_the_packages_of_a_job(tmp_path, monkeypatch):
    """Installs torch twice over: minutes, and 10 GB. On this machine's package index, torch is the one for CUDA."""
    venv = tmp_path / "only-ray"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    (ray,) = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("ray==")]
    subprocess.run([venv / "bin/pip", "install", "--quiet", ray.replace("ray", "ray[default]")], check=True)
    assert subprocess.run([venv / "bin/python", "-c", "import torch"], capture_output=True, check=False).returncode
    monkeypatch.setenv("PATH", f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", str(venv / "bin/python"))  # LocalRay starts the `ray` beside it
    head = LocalRay(cpus=2)
    try:
        head.wait_until_ready()
        command = ["python", "jobs/coco_pseudolabel.py", *INPUT, "--out", str(tmp_path / "run"), "--model", "fake"]
        submitted = head.run(
            *("job", "submit", "--working-dir", str(ROOT), "--runtime-env", str(ROOT / "jobs/runtime-env.yaml")),
            *("--", *command),
            capture=True,
        )
        assert submitted.returncode == 0, submitted.stdout[-5000:]
        assert '"accepted": 18' in submitted.stdout
    finally:
        head.stop()
