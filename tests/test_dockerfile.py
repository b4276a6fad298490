"""The Dockerfile, read without Docker: it copies what is there, obeys the lock, and its user has no rights."""

import fnmatch
import re

import pytest

from tests.documents import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = [
    line
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def instructions(text):
    """Stages of a Dockerfile, each a list of (instruction, arguments); what is before the first FROM is stage 0."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    stages = [[]]
    for line in filter(None, joined.splitlines()):
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, arguments.strip()))
    return stages


STAGES = instructions(TEXT)
ALL = [instruction for stage in STAGES for instruction in stage]
LAST = dict(STAGES[-1])


def arguments_of(name, stages=STAGES):
    return [arguments for stage in stages for found, arguments in stage if found == name]


def is_sent(path):
    """Does .dockerignore let a path go to the builder? The last pattern that fits decides."""
    sent = True
    for pattern in IGNORED:
        plain = pattern.lstrip("!").rstrip("/")
        parents = [path, *(str(parent) for parent in (ROOT / path).relative_to(ROOT).parents)]
        if any(fnmatch.fnmatch(parent, plain.removeprefix("**/")) or parent == plain for parent in parents):
            sent = pattern.startswith("!")
    return sent


def copied():
    """Sources of every COPY from the context."""
    for arguments in arguments_of("COPY"):
        if not arguments.startswith("--from="):
            yield from arguments.split()[:-1]


def test_every_copied_file_and_folder_is_there_and_goes_to_the_builder():
    sources = list(copied())
    assert {"jobs", "model", "pipeline", "pyproject.toml", "requirements.lock", "LICENSE", "README.md"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists() or not is_sent(source)] == []


@pytest.mark.parametrize("path", [".git", ".venv", "out", "tests", "Makefile", ".env"])
def test_nothing_else_goes_to_the_builder(path):
    assert not is_sent(path)


def test_base_and_index_of_torch_are_arguments_declared_where_they_are_used():
    assert set(arguments_of("FROM")) == {"${BASE} AS wheel", "${BASE}"}
    assert arguments_of("ARG", STAGES[:1]) == ["BASE=python:3.11-slim-bookworm"]
    for stage in STAGES[1:]:
        declared = {arguments.partition("=")[0] for name, arguments in stage if name in ("ARG", "ENV")}
        used = {found for name, arguments in stage if name != "FROM" for found in re.findall(r"\$\{(\w+)\}", arguments)}
        assert used <= declared
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cpu" in arguments_of("ARG", STAGES[-1:])


def test_every_package_is_installed_at_its_locked_version_and_leaves_no_cache():
    commands = re.findall(r"pip install [^&]*", " && ".join(arguments_of("RUN")))
    assert len(commands) == 3
    assert all("--constraint requirements.lock" in command and "--no-cache-dir" in command for command in commands)
    assert "--requirement" not in TEXT  # the lock also has the tools of developers


def test_the_image_runs_the_command_as_a_user_without_rights():
    assert (LAST["ENTRYPOINT"], LAST["CMD"], LAST["USER"]) == ('["sod"]', '["--help"]', "1000")
    names = [name for name, _ in STAGES[-1]]
    assert "RUN" not in names[len(names) - names[::-1].index("USER") :]
    (extras,) = [arguments for arguments in arguments_of("ARG") if arguments.startswith("EXTRAS=")]
    assert "dev" not in extras


def test_it_says_that_nobody_built_it_here():
    assert "it has not been built there" in TEXT.replace("\n# ", " ")
