"""`sod`: every job under one command."""

import json
import os
import subprocess
import sys

import pytest

from jobs import sod
from jobs.command_line import DONE, USAGE
from jobs.commands import COMMANDS
from tests.documents import ROOT
from tests.pipeline.make import make_collection


def call(run_here, *words):
    return run_here(sod.main, "/usr/bin/sod", *map(str, words))


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)], ids=str)
def test_it_lists_every_command_with_what_it_does(words, run_here):
    code, out, err = call(run_here, *words)
    assert (code, err) == (DONE, "")
    for name, command in COMMANDS.items():
        assert any(line.split() == [*name.split(), *command.does.split()] for line in out.splitlines())
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("words", [("release",), ("release", "--help")], ids=str)
def test_a_group_lists_its_own_commands(words, run_here):
    code, out, _ = call(run_here, *words)
    assert code == DONE
    assert "release build" in out
    assert "audit plan" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lable",), "there is no command sod lable. Did you mean label?"),
        (("relaese",), "Did you mean release?"),
        (("release", "biuld"), "there is no command sod release biuld. Did you mean build?"),
        (("xyzzy",), "there is no command sod xyzzy. List them with: sod --help"),
        (("completion", "basic"), "usage: sod completion {bash,"),
    ],
    ids=str,
)
def test_what_is_no_command_is_refused_with_the_nearest_one(words, said, run_here):
    code, out, err = call(run_here, *words)
    assert (code, out) == (USAGE, "")
    assert said in err


def test_a_command_is_the_job(run_here, tmp_path):
    inputs = make_collection(tmp_path / "in", 3)
    options = ("--images", inputs.images, "--annotations", inputs.annotations, "--out", tmp_path / "run")
    code, out, err = call(run_here, "label", *options, "--model", "fake", "--engine", "inline")
    assert code == DONE, err
    assert json.loads(out)["images"] == 3
    code, out, _ = call(run_here, "run", "verify", tmp_path / "run", "--json")
    assert (code, json.loads(out)["done"]) == (DONE, 3)


def test_help_names_the_command_as_it_was_called(run_here):
    assert call(run_here, "release", "push", "--help")[1].startswith("usage: sod release push RELEASE TARGET [options]")


def test_the_version_is_told(run_here):
    assert call(run_here, "--version")[1].startswith("sod ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_there_is_a_completion_for_each_shell(shell, run_here):
    code, out, _ = call(run_here, "completion", shell)
    assert code == DONE
    assert "max_variance" in out.replace("-", "_")


def test_bash_completes_commands_options_and_choices(run_here, tmp_path):
    script = tmp_path / "sod.bash"
    script.write_text(call(run_here, "completion", "bash")[1])
    asked = {
        "": "label",
        "la": "label",
        "release ": "build",
        "label --max-v": "--max-variance",
        "label --engine ": "inline",
    }
    for typed, expected in asked.items():
        words = ["sod", *typed.split(" ")]
        line = f"""source {script}; COMP_WORDS=({" ".join(word or "''" for word in words)}); COMP_CWORD={len(words) - 1}
            $(complete -p sod | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' "${{COMPREPLY[@]}}" """
        done = subprocess.run(["bash", "--norc", "-c", line], capture_output=True, text=True, check=True)
        assert expected in done.stdout.split(), (typed, done.stderr)


def test_a_reader_that_goes_ends_nothing(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = f"{sys.executable} -m jobs.sod label --init | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] == "0"
