"""The wheel: the same bytes from the same commit, all that the project needs, and nothing read from the checkout."""

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.documents import ROOT

PACKAGES = ("jobs", "model", "pipeline")
GIT = {
    "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org", "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.org", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip
WATCH = f"""
import atexit, os, sys

def look():
    found = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    ours = [path for path in found if path.startswith({str(ROOT)!r} + "/") and "/.venv/" not in path]
    if ours:
        print("imported from the checkout:", ours, file=sys.stderr, flush=True)
        os._exit(70)

atexit.register(look)
"""
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
OF_A_CHECKOUT = ("jobs/recipes/", "jobs/runtime-env")
"""Left out: they upload a checkout to a cluster, or start one of nodes that share a checkout."""
pytestmark = pytest.mark.slow


def call(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done


def build(checkout, umask):
    command = f"umask {umask}; .ci/build-wheel built"
    call("bash", "-c", command, cwd=checkout, env=os.environ | GIT | {"PYTHON": sys.executable})
    (wheel,) = (checkout / "built").iterdir()
    return wheel


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A commit of what is in the working tree now."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in (".ci", *PACKAGES):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "all")):
        call("git", *command, cwd=folder, env=os.environ | GIT)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout):
    (checkout / "pipeline" / "left_behind.py").write_text("no part of the commit")
    return build(checkout, "022")


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_two_builds_of_a_commit_have_the_same_bytes(checkout, wheel, tmp_path):
    call("git", "clone", "-q", checkout, tmp_path / "clone", env=os.environ | GIT)
    again = build(tmp_path / "clone", "077")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_has_every_file_of_the_packages_but_documents_and_what_needs_a_checkout(names):
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    missing = {
        name for name in wanted - names if not name.endswith((".md", ".ipynb")) and not name.startswith(OF_A_CHECKOUT)
    }
    assert missing == set()
    assert {"model/nano/README.md", "pipeline/sample/NOTICE.md"} <= names
    others = {name for name in names - wanted if ".dist-info/" not in name}
    assert others == set()


def test_the_wheel_has_the_licences_of_all_that_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        stated = email.message_from_bytes(archive.read(metadata))
        folder = metadata.removesuffix("METADATA") + "licenses/"
        licenses = {name.removeprefix(folder) for name in archive.namelist() if name.startswith(folder)}
    vendored = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("pipeline/**/*.LICENSE.txt")}
    assert len(vendored) >= 2
    assert licenses == {"LICENSE", "pipeline/sample/NOTICE.md", *vendored} == set(stated.get_all("License-File"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of a fresh environment with the wheel, beside the packages that the project needs."""
    folder = tmp_path_factory.mktemp("fresh")
    call(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    call(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-compile",
        wheel,
    )
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "of_the_project.pth").write_text(sysconfig.get_path("purelib"))
    (site / "sitecustomize.py").write_text(WATCH)
    return python


@pytest.fixture
def call_installed(installed, tmp_path):
    """Run a program of the fresh environment in an empty folder, as whoever has no checkout does."""
    environment = {"PATH": f"{installed.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    return lambda program, *words: call(installed.parent / program, *words, cwd=tmp_path, env=environment)


def test_the_packages_are_imported_from_the_environment(call_installed, installed):
    code = "import jobs, model, pipeline; print(jobs.__file__, model.__file__, pipeline.__file__)"
    paths = call_installed("python", "-c", code).stdout.split()
    assert len([path for path in paths if path.startswith(str(installed.parent.parent))]) == 3


def test_the_watch_on_the_checkout_notices_an_import_from_it(installed, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import model"
    done = subprocess.run([installed, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "imported from the checkout" in done.stderr) == (70, True)


def test_the_command_is_installed_with_its_version_and_the_help_of_every_job(call_installed):
    assert call_installed("sod", "--version").stdout == f"sod {VERSION}\n"
    assert "predict" in call_installed("sod", "--help").stdout
    assert "--max-variance" in call_installed("sod", "completion", "bash").stdout.replace("_", "-")
    script = call_installed("python", "-m", "jobs.predict", "--help").stdout
    assert script == call_installed("sod", "predict", "--help").stdout  # a wheel has no scripts to name


def test_a_photo_becomes_a_mask_and_a_cut_out_with_the_weights_of_the_wheel(call_installed, tmp_path):
    shutil.copy(next((ROOT / "pipeline/sample/images").glob("*.jpg")), tmp_path / "photo.jpg")
    quick = ("--ensemble-size", "2", "--denoise-steps", "1", "--device", "cpu", "--cutout")
    done = call_installed("sod", "predict", "photo.jpg", "--out", "masks", *quick)
    assert json.loads(done.stdout)["predicted"] == 1
    assert {path.name for path in (tmp_path / "masks").rglob("*.png")} == {"photo.png"}
    assert (tmp_path / "masks" / "cutout" / "photo.png").is_file()


def test_a_release_with_its_page_is_made_and_checked_with_the_files_of_the_wheel(call_installed, installed, tmp_path):
    sample = next(installed.parent.parent.glob("lib/*/site-packages/pipeline/sample"))
    (tmp_path / "photos").mkdir()
    for photo in sorted((sample / "images").glob("*.jpg"))[:4]:
        shutil.copy(photo, tmp_path / "photos")
    made = ("--images", "photos", "--out", "run", "--engine", "inline", "--model", "fake")
    release = json.loads(call_installed("sod", "label", *made).stdout)["release"]
    assert (Path(release) / "index.html").is_file()
    checked = call_installed("sod", "release", "verify", release, "--no-loaders", "--json")
    assert json.loads(checked.stdout)["problems"] == []
