"""No option of any command takes a number that is none: what is not finite is refused by name, before any work."""

import re
from dataclasses import MISSING, replace

import pytest

from jobs import score_run
from jobs.command_line import parse_config
from jobs.commands import COMMANDS
from pipeline.benchmarks.kinds import KINDS, options_class
from pipeline.errors import ConfigError
from pipeline.option_texts import options_of
from pipeline.passes.known import PASSES

CASES = (
    [(command, command.options_class()) for command in COMMANDS.values() if command.config]
    + [(replace(COMMANDS["bench"], name=f"bench {kind}", word=kind), options_class(kind)) for kind in KINDS]
    + [(COMMANDS["score"], score_run._arguments(f"{name}_pass", known.options)) for name, known in PASSES.items()]
)
FLOATS = [
    (command, kind, [option.flag for option in options_of(kind) if option.kind is float]) for command, kind in CASES
]
FLOATS = [case for case in FLOATS if case[-1]]
GIVEN = {"train": ["--train-release", "release"]}
"""What a command needs beside its required options."""


def required(command, kind):
    """Arguments for all required options."""
    arguments = list(GIVEN.get(command.name, ()))
    for option in options_of(kind):
        if option.default is MISSING:
            value = option.choices[0] if option.choices else "1"
            arguments += [value] if option.is_place else [f"--{option.flag}", value]
    return arguments


def test_the_options_are_found():
    found = {(command.name, flag) for command, _, flags in FLOATS for flag in flags}
    assert {
        ("train", "max-grad-norm"), ("distil", "learning-rate"), ("label", "max-variance"), ("audit plan", "ious"),
        ("evaluate", "std"), ("score", "duplicate-from"), ("bench growth", "sleep-s"),
    } <= found  # fmt: skip


@pytest.mark.parametrize(("command", "kind", "flags"), FLOATS, ids=[command.name for command, _, _ in FLOATS])
def test_a_number_that_is_none_is_refused_by_the_name_of_its_option(command, kind, flags, capsys):
    given = required(command, kind)
    parse_config(kind, given, command)
    for flag in flags:
        for value in ("nan", "inf", "-inf"):
            with pytest.raises((SystemExit, ConfigError)) as refused:
                parse_config(kind, [*given, f"--{flag}={value}"], command)
            printed = capsys.readouterr().err
            assert getattr(refused.value, "code", 2) == 2
            said = re.sub(r"[\s│]+", " ", f"{refused.value} {printed}").replace("_", "-")
            assert flag in said
            assert value in said


@pytest.mark.parametrize("line", ["stall_after_s = inf", "max_area = nan", "resources = ['memory=inf']"])
def test_a_file_of_options_has_none_either(line, tmp_path):
    (tmp_path / "run.toml").write_text(f"{line}\n")
    command = COMMANDS["label"]
    given = [*required(command, command.options_class()), "--config", str(tmp_path / "run.toml")]
    with pytest.raises(ConfigError) as refused:
        parse_config(command.options_class(), given, command)
    assert line.partition(" ")[0] in str(refused.value).replace("-", "_")
