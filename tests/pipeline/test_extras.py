"""Optional packages that are missing, and the command that installs them."""

import pytest

from pipeline import extras
from pipeline.errors import ConfigError
from pipeline.extras import extra_command, require_extra


def test_beside_a_wheel_an_extra_is_installed_by_the_name_of_the_project(monkeypatch):
    monkeypatch.setattr(extras, "IS_CHECKOUT", False)
    assert extra_command("eval") == "run pip install 'sod-benchmark[eval]'"


def test_a_missing_package_is_named_with_the_command_for_a_checkout():
    with pytest.raises(ConfigError) as refused:
        require_extra("eval", "json", "no_such_module")
    said = "missing packages: no_such_module; run in the project's folder: pip install '.[eval]'"
    assert str(refused.value) == said
