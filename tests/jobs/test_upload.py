"""What a submitted job uploads and installs: its size, as Ray packs it, and runtime environments, as Ray reads them."""

import shutil
import subprocess
import zipfile

import pytest
import yaml

from tests.documents import ROOT
from tests.requirements import RUNTIME_ENVS, runtime_env

WEIGHTS = "/model/nano"


def environment(file):
    return yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The files that git knows: others of a developer's are not ours to measure."""
    folder = tmp_path_factory.mktemp("checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "tests").mkdir()
    (folder / "tests/test_a.py").touch()
    return folder


def packed(checkout, excludes):
    """Size in bytes and names of what Ray uploads."""
    from ray._private.runtime_env.packaging import create_package

    package = checkout.parent / "package.zip"
    package.unlink(missing_ok=True)  # Ray would leave it as it is
    create_package(str(checkout), package, include_gitignore=True, excludes=excludes)
    with zipfile.ZipFile(package) as archive:
        return package.stat().st_size, {name for name in archive.namelist() if not name.endswith("/")}


def test_an_upload_is_small_and_without_the_weights_smaller(checkout):
    size, names = packed(checkout, [])
    assert size < 25_000_000
    assert {
        "jobs/coco_pseudolabel.py",
        "pipeline/run.py",
        "model/nano/unet/diffusion_pytorch_model.safetensors",
    } <= names
    assert [name for name in names if name.startswith(("tests/", ".ci/", "out/"))] == []

    excludes = [*environment("jobs/runtime-env.yaml")["excludes"], WEIGHTS]
    size, fewer = packed(checkout, excludes)
    assert size < 5_000_000
    assert names - fewer == {name for name in names if name.startswith(("model/nano/", "jobs/recipes/"))}


@pytest.mark.parametrize("file", RUNTIME_ENVS)
def test_a_runtime_environment_has_the_locked_version_of_everything_that_a_job_needs(file):
    assert (ROOT / file).read_text(encoding="utf-8") == runtime_env(file), "run make lock"
    packages = environment(file)["pip"]
    names = {line.partition("==")[0] for line in packages}
    assert {"torch", "torchvision", "diffusers", "timm", "s3fs", "pyarrow", "rich"} <= names
    assert not {"ray", "pytest", "ruff", "grpcio"} & names
    cpu = [line for line in packages if line.endswith("+cpu")]
    assert bool(cpu) == ("cpu" in file) == packages[0].startswith("--extra-index-url")


@pytest.mark.parametrize("file", RUNTIME_ENVS)
def test_ray_takes_a_runtime_environment_and_what_it_comments_out(file):
    from ray.runtime_env import RuntimeEnv

    taken = RuntimeEnv(**environment(file))
    assert taken.pip_config()["packages"] == environment(file)["pip"]
    assert taken["config"]["setup_timeout_seconds"] == 1800
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"\n  # - {WEIGHTS}  # " in text
    assert WEIGHTS in yaml.safe_load(text.replace(f"# - {WEIGHTS}", f"- {WEIGHTS}"))["excludes"]
