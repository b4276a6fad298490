"""The recipes of `jobs/recipes`: valid for the schemas of their schedulers, in step with the project, and each exit
code has the end that it should. Ray, the job and the scheduler's commands are stand-ins here, which write down how they
are called; `tests/end_to_end/test_on_schedulers.py` has real ones.
"""

import contextlib
import copy
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time

import jsonschema
import pytest
import yaml

from jobs.coco_pseudolabel import parse
from tests.documents import ROOT
from tests.requirements import LOCKED

RECIPES = ROOT / "jobs" / "recipes"
KUBERAY = yaml.safe_load((RECIPES / "kuberay.yaml").read_text(encoding="utf-8"))
SKYPILOT = yaml.safe_load((RECIPES / "skypilot.yaml").read_text(encoding="utf-8"))
SLURM = RECIPES / "slurm.sh"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
CALLED = 'echo "$(basename "$0") $*" >> "$CALLS"\n'


def schema(name):
    return json.loads((ROOT / "tests/jobs/schemas" / name).read_text(encoding="utf-8"))


def errors_of(document, of):
    return [error.json_path for error in jsonschema.Draft202012Validator(of).iter_errors(document)]


def edited(document, path, value):
    document = copy.deepcopy(document)
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    place[last] = value
    return document


class Stage:
    """A folder of stand-ins for commands, and what they were called with."""

    def __init__(self, folder):
        self.folder, self.calls = folder, folder / "calls.log"
        (folder / "bin").mkdir()
        (folder / "bin" / "activate").touch()
        self.calls.touch()
        self.jobs = []
        self.environment = {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "HOME": str(folder),
        }

    def command(self, name, script):
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\n{CALLED}{script}\n")
        path.chmod(0o755)

    def called(self, name):
        return [line for line in self.calls.read_text().splitlines() if line.startswith(f"{name} ")]

    def wait_for(self, name):
        deadline = time.monotonic() + 30
        while not self.called(name):
            assert time.monotonic() < deadline, self.calls.read_text()
            time.sleep(0.01)

    def start(self, script, **environment):
        job = subprocess.Popen(
            ["bash", *script],
            env=self.environment | environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.jobs.append(job)
        return job

    def run(self, script, **environment):
        return self.start(script, **environment).wait(timeout=60)

    def close(self):
        """End what a job has left: a test that failed leaves commands that wait for ever."""
        for job in self.jobs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path)
    yield stage
    stage.close()


# KubeRay


def test_the_rayjob_fits_the_schema_of_kuberay():
    assert errors_of(KUBERAY, schema("ray.io_rayjobs.json")) == []


HEAD = ("spec", "rayClusterSpec", "headGroupSpec", "template", "spec")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "backOffLimit"), 5),
        (("spec", "backoffLimit"), "5"),
        (("spec", "submissionMode"), 1),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "tokens"),
        ((*HEAD, "containers", 0, "resources", "gpus"), 1),
        ((*HEAD, "tolerations", 0, "tolerationSeconds"), "30"),
    ],
)
def test_a_mistake_in_the_rayjob_does_not_fit(path, value):
    assert errors_of(edited(KUBERAY, path, value), schema("ray.io_rayjobs.json"))


def test_the_rayjob_keeps_what_no_schema_says():
    spec = KUBERAY["spec"]
    # Of KubeRay's own checks, those that our fields could fail.
    assert spec["shutdownAfterJobFinishes"] or not spec["ttlSecondsAfterFinished"]
    assert not {"clusterSelector", "deletionStrategy", "activeDeadlineSeconds"} & spec.keys()  # each forbids retries
    # The job stops itself by its name, long enough for a clean end.
    assert spec["jobId"] == KUBERAY["metadata"]["name"]
    assert f"http://127.0.0.1:8265 {spec['jobId']};" in spec["entrypoint"]
    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "60"}


def test_the_rayjob_fits_the_image_of_the_dockerfile():
    cluster = KUBERAY["spec"]["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}" == LOCKED["ray"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert f"USER {pod['securityContext']['runAsUser']}" in DOCKERFILE
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert f"ENV HOME={mounts['cache'].removesuffix('/.cache')}" in DOCKERFILE
        assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    assert re.search(r"^ARG EXTRAS=.*\bs3\b", DOCKERFILE, re.MULTILINE)


def kuberay_entrypoint():
    """As the submitter's shell and `ray job submit` hand it to the driver's shell."""
    return shlex.join(shlex.split(KUBERAY["spec"]["entrypoint"]))


def test_the_command_of_the_rayjob_is_one_of_the_main_job():
    command = shlex.split(shlex.split(kuberay_entrypoint())[2].partition(";")[0])
    assert command[:2] == ["sod", "label"]
    config = parse(command[2:])
    workers = KUBERAY["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert config.cluster.max_replicas == sum(group["maxReplicas"] for group in workers)


@pytest.mark.parametrize(("code", "stops"), [(0, False), (1, False), (2, True), (3, True), (137, False)])
def test_the_command_of_the_rayjob_stops_its_job_where_no_retry_helps(stage, code, stops):
    stage.command("sod", f"exit {code}")
    stage.command("ray", "")
    stage.command("sleep", "")
    assert stage.run(["-c", kuberay_entrypoint()]) == code
    assert [shlex.split(call)[1:3] for call in stage.called("ray")] == ([["job", "stop"]] if stops else [])


@pytest.mark.parametrize("is_taken", [True, False])
def test_the_image_adds_its_user_where_the_base_has_none_of_that_number(stage, is_taken):
    (line,) = re.findall(r"^RUN (.*useradd.*)$", DOCKERFILE, re.MULTILINE)
    for name in ("useradd", "mkdir", "chmod"):
        stage.command(name, "")
    stage.command("getent", f"exit {0 if is_taken else 2}")
    assert stage.run(["-c", line]) == 0
    assert stage.called("getent") == ["getent passwd 1000"]
    assert len(stage.called("useradd")) == (not is_taken)
    assert stage.called("chmod") == ["chmod 1777 /home/sod"]


def test_the_image_is_built_by_root_whoever_the_base_is():
    stages = DOCKERFILE.split("\nFROM ")[1:]
    for stage in stages:
        assert re.search(r"^(USER|WORKDIR|RUN|COPY) .*$", stage, re.MULTILINE)[0] == "USER 0"


# Slurm

RAY = """case $1 in start) trap 'exit 0' TERM; while :; do command sleep 0.05; done ;; esac"""
SRUN = 'while [[ $1 == --* ]]; do shift; done; exec "$@"'


@pytest.fixture
def slurm(stage):
    stage.command("ray", RAY)
    stage.command("srun", SRUN)
    stage.command("scontrol", "")
    stage.command("getent", "printf '%s STREAM host\\n' ${ADDRESSES-10.0.0.7}")
    stage.command("hostname", "echo ${OTHERS-}")
    stage.environment |= {
        "SLURM_SUBMIT_DIR": str(stage.folder),
        "SOD_VENV": str(stage.folder),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURMD_NODENAME": "localhost",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_ON_NODE": "1",
    }
    return stage


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"),
    [(0, 0, False), (1, 0, True), (1, 4, True), (1, 5, False), (2, 0, False), (3, 0, False), (137, 0, True)],
)
def test_the_slurm_job_is_requeued_where_another_try_helps(slurm, code, restarts, requeued):
    slurm.command("python", f"exit {code}")
    assert slurm.run([SLURM, "--out", "/data/a b"], SLURM_RESTART_COUNT=str(restarts)) == code
    assert slurm.called("scontrol") == ([f"scontrol requeue {slurm.environment['SLURM_JOB_ID']}"] if requeued else [])
    assert slurm.called("python") == ["python jobs/coco_pseudolabel.py --out /data/a b"]


AFTER_RAY = 'until grep -q "^ray start" "$CALLS"; do command sleep 0.05; done'
"""Without it the job may be over before Ray is called, which starts beside it."""
STOPPABLE = "trap 'echo stopped >> \"$CALLS\"; exit 1' TERM; while :; do command sleep 0.05; done"


@pytest.mark.parametrize(("number", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_the_slurm_job_stops_cleanly_and_is_requeued_when_its_time_is_up_but_not_when_cancelled(
    slurm, number, requeued
):
    slurm.command("python", STOPPABLE)
    job = slurm.start([SLURM], SLURM_RESTART_COUNT="99" if requeued else "0")
    slurm.wait_for("python")
    time.sleep(0.1)  # its trap is set
    job.send_signal(number)
    assert job.wait(timeout=30) == 1
    assert "stopped" in slurm.calls.read_text().splitlines()
    assert len(slurm.called("scontrol")) == requeued


def test_the_slurm_job_starts_a_head_and_a_worker_on_every_other_node_with_all_that_slurm_gave(slurm):
    slurm.command("python", 'until [[ $(grep -c "^ray start" "$CALLS") == 2 ]]; do command sleep 0.05; done')
    assert slurm.run([SLURM], SLURM_NNODES="4", SLURM_GPUS_ON_NODE="8", SLURM_CPUS_PER_TASK="32") == 0
    worker, head = sorted(slurm.called("ray start"), key=lambda call: "--head" in call)  # both start at once
    assert all("--num-gpus=8" in call and "--num-cpus=1 " in call for call in (head, worker))
    assert re.search(r"--address=\S+:\d+ ", worker)
    (step,) = slurm.called("srun")
    assert "--nodes=3 --ntasks=3 --relative=1 --no-kill --kill-on-bad-exit=0 --cpus-per-task=32" in step


def test_the_slurm_job_on_one_node_needs_no_srun_and_a_head_that_does_not_start_fails_it(slurm):
    slurm.command("python", "")
    assert slurm.run([SLURM], SLURM_NNODES="1") == 0
    assert slurm.called("srun") == []
    slurm.command("ray", "exit 1")
    assert slurm.run([SLURM], SLURM_NNODES="1") == 1
    assert len(slurm.called("python")) == 1


@pytest.mark.parametrize(
    ("named", "others", "head"),
    [
        ("10.0.0.7 10.0.0.7 10.0.0.8", "10.9.9.9", "10.0.0.7"),
        ("127.0.1.1", "127.0.0.2 10.0.0.9 fe80::1", "10.0.0.9"),
        ("", "2001:db8::1 192.168.127.1", "192.168.127.1"),
    ],
)
def test_the_head_of_the_slurm_job_has_an_address_that_other_nodes_reach(slurm, named, others, head):
    slurm.command("python", AFTER_RAY)
    assert slurm.run([SLURM], SLURM_NNODES="1", ADDRESSES=named, OTHERS=others) == 0
    (call,) = slurm.called("ray start")
    assert f"--node-ip-address={head} " in call


def test_a_slurm_job_whose_head_nobody_could_reach_is_refused_unless_its_address_is_given(slurm):
    slurm.command("python", AFTER_RAY)
    assert slurm.run([SLURM], ADDRESSES="127.0.1.1", OTHERS="") == 2
    assert slurm.called("ray") == slurm.called("python") == slurm.called("scontrol") == []
    assert slurm.run([SLURM], SLURM_NNODES="1", ADDRESSES="127.0.1.1", OTHERS="", SOD_HEAD_IP="10.0.0.7") == 0
    assert "--node-ip-address=10.0.0.7 " in slurm.called("ray start")[0]


def test_the_token_of_the_slurm_job_is_in_no_command_line(slurm):
    slurm.command("python", 'echo "token $RAY_AUTH_TOKEN" >> "$CALLS"')
    assert slurm.run([SLURM]) == 0
    (token,) = [line.split()[1] for line in slurm.called("token")]
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    assert slurm.calls.read_text().count(token) == 1


# SkyPilot


def sky_errors(task):
    of = schema("skypilot-task.json")
    return errors_of(task, of["task"]) + errors_of(task.get("resources", {}), of["resources"])


def test_the_task_fits_the_schema_of_skypilot():
    assert sky_errors(SKYPILOT) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("num_node",), 2),
        (("num_nodes",), "two"),
        (("resources", "use_spots"), True),
        (("resources", "job_recovery", "max_restarts_on_errors"), -1),
    ],
)
def test_a_mistake_in_the_task_does_not_fit(path, value):
    assert sky_errors(edited(SKYPILOT, path, value))


def test_the_task_names_no_secret_and_its_setup_installs_what_is_locked():
    assert set(SKYPILOT["secrets"].values()) == {None}
    assert '--constraint requirements.lock ".[s3]"' in SKYPILOT["setup"]


@pytest.mark.parametrize(
    ("codes", "ended"), [([0], 0), ([1, 137, 0], 0), ([2], 2), ([1, 3], 3), ([1, 1, 1, 1], 1), ([1, 1, 1, 0], 0)]
)
def test_the_task_tries_again_where_that_helps(stage, codes, ended):
    (stage.folder / "sod-venv").symlink_to(stage.folder)
    stage.command("ray", RAY)
    stage.command("python", f'codes=({" ".join(map(str, codes))}); exit "${{codes[$(grep -c ^python "$CALLS") - 1]}}"')
    environment = {"SKYPILOT_NODE_RANK": "0", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2"}
    environment |= {"SKYPILOT_NUM_GPUS_PER_NODE": "8", **SKYPILOT["envs"]}
    assert stage.run(["-c", SKYPILOT["run"]], **environment) == ended
    assert len(stage.called("python")) == len(codes)
    assert parse(shlex.split(stage.called("python")[0])[2:]).out == SKYPILOT["envs"]["OUT"]


# All


SCRIPTS = {
    "slurm.sh": SLURM.read_text(encoding="utf-8"),
    "kuberay.yaml": "#!/bin/bash\n" + shlex.split(KUBERAY["spec"]["entrypoint"])[2],
    "skypilot.yaml setup": "#!/bin/bash\n" + SKYPILOT["setup"],
    "skypilot.yaml run": "#!/bin/bash\n" + SKYPILOT["run"],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing_in_the_scripts(name):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    command = ["shellcheck", "--exclude=SC1090", "-"]  # a file that is there only on the cluster is sourced
    done = subprocess.run(command, input=SCRIPTS[name], capture_output=True, text=True, check=False)
    assert done.stdout == ""
