"""What is refused before any work, and the command that mends it."""

import importlib.metadata

import pytest

from pipeline.errors import ConfigError
from pipeline.preconditions import extra_command, require_extra


def test_an_extra_is_installed_by_the_name_of_the_project_where_a_wheel_was(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: name)
    assert extra_command("eval") == "run pip install 'sod-benchmark[eval]'"


def test_a_missing_package_is_named_with_the_command_for_a_checkout(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(ConfigError) as refused:
        require_extra("eval", "json", "no_such_module")
    said = "missing packages: no_such_module; run in the project's folder: pip install '.[eval]'"
    assert str(refused.value) == said
