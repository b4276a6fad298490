"""What the project needs, from pyproject.toml, requirements.lock and what is installed; and jobs/runtime-env*.yaml.

`python -m tests.requirements` writes these two files anew, as `make lock` does.
"""

import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PLATFORM = ("nvidia-", "cuda-", "triton")
"""What torch pins for its platform; the lock leaves it out too."""
LOCKED = {
    canonicalize_name(line.partition("==")[0]): line
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}
"""Package → its line in the lock."""
RUNTIME_ENVS = {"jobs/runtime-env.yaml": "", "jobs/runtime-env-cpu.yaml": "cpu"}
"""File → where its torch comes from; empty: the package index, whose torch is for CUDA."""
_HEAD = """\
# For clusters whose Python has only Ray: the packages of a job {of}, and what is left out of its upload.
#   ray job submit --working-dir . --runtime-env {file} -- python jobs/coco_pseudolabel.py …
# The cluster needs Python 3.11 or later, a package index, and {room} of disk on each node. The first job on a node
# waits for the installation; later ones with the same list find it there.
# Written by `make lock`, from requirements.lock. Ray and what only Ray needs are left to the cluster.
excludes:  # .gitignore and .rayignore count too
  - /jobs/recipes
  # - /model/nano  # 19 of 23 MB, the embedded weights, for a job with a --model of its own
env_vars:
  RAY_JOB_STOP_WAIT_TIME_S: "60"  # that `ray job stop` gives a job; the default of 3 s is too short to end cleanly
config:
  setup_timeout_seconds: 1800  # of the installation; the default of 600 s may be too short for torch
pip:
"""


def closure(extra="", without=()):
    """Names of all packages that installing the project with an extra brings, as the installed ones require.

    Args: without: names that do not count, nor what only they bring.
    """
    found, left = set(), [(text, "") for text in own_requirements(extra)]
    seen = set()
    while left:
        text, of_extra = left.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": of_extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in requirement.extras or {""}:
            if (name, wanted) in seen or name in without:
                continue
            seen.add((name, wanted))
            if name == PROJECT["name"]:
                left += [(own, "") for own in EXTRAS[wanted]]
                continue
            if name.startswith(PLATFORM):
                continue
            found.add(name)
            with suppress(PackageNotFoundError):  # it counts, but what it brings is not known here
                left += [(theirs, wanted) for theirs in requires(name) or []]
    return found


def own_requirements(extra):
    return [*PROJECT["dependencies"], *(EXTRAS[extra] if extra else [])]


def runtime_env(file):
    """The text of one of `RUNTIME_ENVS`."""
    of_torch = RUNTIME_ENVS[file]
    of, room = ("on CPUs", "3 GB") if of_torch else ("on NVIDIA GPUs", "7 GB")
    lines = [LOCKED[name] for name in sorted(closure("s3", without={"ray"}))]
    if of_torch:
        lines = [f"{line}+{of_torch}" if line.startswith(("torch==", "torchvision==")) else line for line in lines]
        lines = [f"--extra-index-url https://download.pytorch.org/whl/{of_torch}", *lines]
    return _HEAD.format(file=file, of=of, room=room) + "".join(f"  - {line}\n" for line in lines)


def write():
    for file in RUNTIME_ENVS:
        (ROOT / file).write_text(runtime_env(file), encoding="utf-8")


if __name__ == "__main__":
    write()
