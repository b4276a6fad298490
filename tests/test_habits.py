"""What others expect of a project: a workflow, hooks, templates, a citation, and a list of the make targets."""

import re
import subprocess
import tomllib

import pytest
import yaml

from tests.documents import MAKE_TARGETS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
YAML_FILES = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]


def read_yaml(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_files_are_whole(path):
    assert isinstance(read_yaml(path), dict)


def test_the_workflow_runs_what_a_newcomer_types_on_the_oldest_python():
    workflow = read_yaml(".github/workflows/ci.yml")
    (job,) = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert (ROOT / ".ci/run").stat().st_mode & 0o100
    (python,) = [step["with"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert PROJECT["requires-python"] == f">={python['python-version']}"
    assert (ROOT / python["cache-dependency-path"]).is_file()
    assert job["timeout-minutes"] == 90
    assert {"push", "pull_request"} <= workflow[True].keys()  # YAML 1.1 reads the key `on` as true


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_templates_have_what_the_website_needs(name):
    template = read_yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert template["name"]
    assert template["description"]
    fields = template["body"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_the_hooks_are_the_tools_of_make_check():
    hooks = [hook for repo in read_yaml(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format", "mypy"]
    for hook in hooks:
        tool = hook["entry"].removeprefix(".venv/bin/").partition(" --")[0]
        assert f"$(BIN)/{tool}" in MAKEFILE
        assert hook["language"] == "system"


def test_the_citation_is_of_this_version():
    citation = read_yaml("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["authors"] == [{"name": "The sod-benchmark authors"}]
    assert (citation["title"], citation["version"]) == (PROJECT["name"], PROJECT["version"])
    assert citation["license"] == PROJECT["license"]


@pytest.mark.parametrize("command", [["make"], ["make", "help"]], ids=" ".join)
def test_make_lists_every_target_with_what_it_does(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    phony = {name for names in re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE) for name in names.split()}
    assert listed.keys() == phony == MAKE_TARGETS
    assert list(listed) == sorted(listed)
    assert all(text[0].isupper() for text in listed.values())
