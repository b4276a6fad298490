"""What `--help` prints, and that the table of commands is true."""

import importlib
import re
import shlex
import sys

import pytest

from jobs.command_line import DONE, USAGE
from jobs.commands import COMMANDS
from jobs.help import help_text
from pipeline.errors import ConfigError
from tests.documents import ROOT

WITH_OPTIONS = {name: command for name, command in COMMANDS.items() if command.config}


class Parsed(Exception):
    """A command line was understood, and its job is not to go on."""


@pytest.fixture
def called_as(monkeypatch):
    return lambda *words: monkeypatch.setattr(sys, "argv", list(words))


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_help_is_80_columns_wide_and_shows_examples_before_options(name, called_as, monkeypatch):
    called_as("/usr/bin/sod")
    monkeypatch.setenv("COLUMNS", "200")
    command = COMMANDS[name]
    text = help_text(command, command.options_class())
    examples = [f"  sod {name} {arguments}".rstrip() for arguments, _ in command.examples]
    assert max(map(len, text.splitlines())) <= 80
    lines = text.replace(" \\\n      ", " ").splitlines()
    assert text.startswith(f"usage: sod {name} ")
    assert text.index("examples:") < text.index("options:\n") if examples else "examples:" not in text
    assert [line for line in lines if line in examples] == examples
    assert "(default" not in text
    assert not re.search(r"None[:\]]|`None`:", text)


def test_common_options_come_first_and_the_others_in_the_groups_of_their_class(called_as):
    called_as("jobs/coco_pseudolabel.py")
    command = COMMANDS["label"]
    text = help_text(command, command.options_class())
    assert text.startswith("usage: python jobs/coco_pseudolabel.py --images TEXT --out TEXT [options]\n")
    text = text[text.index("common options:") :]
    order = ["--images TEXT", "--dry-run", "other options:", "--shard-size", "input options:"]
    order += [
        "--metadata",
        "policy options:",
        "--max-variance",
        "with every command:",
        "--init",
        "--json",
        "--log-format",
    ]
    order += ["--help"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "--embed-images, " not in text
    assert "--no-embed-images, --embed-images" in text  # on by default: the name that changes something comes first
    assert "[default: 0.005]" in text


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].examples])
def test_every_example_is_understood(name, called_as, monkeypatch, tmp_path):
    command = COMMANDS[name]
    called = importlib.import_module(f"jobs.{command.script}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text('images = "x"\nout = "y"\n')

    def understood(*_, **__):
        raise Parsed

    for arguments, _ in command.examples:
        with monkeypatch.context() as patch:
            called_as("sod", *filter(None, [command.word]), *shlex.split(arguments))
            if command.script == "demo":
                patch.setattr(called, "local_ray", understood)
            else:
                parse = called.parse_config
                patch.setattr(called, "parse_config", lambda *given, parse=parse: [parse(*given), understood()])
            with pytest.raises(Parsed):
                called.main()


def test_every_script_is_a_command_and_every_command_a_script():
    scripts = {path.stem for path in (ROOT / "jobs").glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    assert {command.script for command in COMMANDS.values()} == scripts - {"sod"}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_told_in_one_short_line(name):
    assert len(COMMANDS[name].does) <= 56
    assert COMMANDS[name].does[0].islower()
    assert not COMMANDS[name].does.endswith(".")


def test_short_names_and_what_stands_first_mean_options():
    spelled_out = COMMANDS["predict"].spelled_out
    for given in (["photos", "--out", "m"], ["--out", "m", "photos"], ["--overlay", "photos", "--out", "m"]):
        spelled = spelled_out(given)
        i = spelled.index("--input-rgb-path")
        assert spelled[i + 1] == "photos"
        assert spelled[:i] + spelled[i + 2 :] == [
            word.replace("--out", "--output-dir") for word in given if word != "photos"
        ]
    assert spelled_out(["--out=a=b", "--overlay"]) == ["--output-dir=a=b", "--overlay"]
    assert COMMANDS["label"].spelled_out(["--out", "x"]) == ["--out", "x"]


@pytest.mark.parametrize("given", [["a.jpg", "b.jpg", "--out", "m"], ["a", "--input_rgb_path=b"]], ids=str)
def test_several_words_without_a_name_are_refused_with_what_to_give(given):
    with pytest.raises(ConfigError, match=r"^PHOTOS is given 2 times \(a.*give one photo, a folder, or a pattern"):
        COMMANDS["predict"].spelled_out(given)


def test_a_misspelt_option_is_named_although_a_required_one_is_missing(run_here):
    code, _, err = run_here(importlib.import_module("jobs.coco_pseudolabel").main, "job", "--imges", "x", "--out", "y")
    assert (code, err) == (USAGE, "error: there is no option --imges. Did you mean --images?\n")


def test_a_preset_of_a_command_is_the_default_that_its_help_shows(called_as):
    called_as("sod")
    command = COMMANDS["predict"]
    assert (
        "[default: 0]"
        in help_text(command, command.options_class(), {"batch_size": 0}).partition("--batch-size")[2][:600]
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("publish_release", "biuld"), USAGE, "there is no command biuld. Did you mean build?"),
        (("publish_release",), USAGE, "give a command"),
        (("publish_release", "--help"), DONE, "usage: python jobs/publish_release.py COMMAND"),
        (("benchmark", "sped"), USAGE, "there is no measurement sped. Did you mean speed?"),
        (("benchmark",), USAGE, "name a measurement first"),
        (("benchmark", "--help"), DONE, "Images/s of the reference's way of working"),
    ],
)
def test_a_word_that_is_no_command_is_named_with_the_nearest_one(words, code, said, run_here):
    script, *arguments = words
    found, out, err = run_here(importlib.import_module(f"jobs.{script}").main, f"jobs/{script}.py", *arguments)
    assert found == code
    assert said in (out if code == DONE else err)
