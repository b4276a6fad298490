"""The file that `--init` prints."""

import re
import tomllib
from dataclasses import MISSING, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.coco_pseudolabel import parse
from jobs.commands import COMMANDS
from jobs.options_file import options_file_text
from pipeline.config import RunConfig
from pipeline.option_texts import options_of
from pipeline.options import option_types, read_toml
from pipeline.passes.known import PASSES

TEXT = options_file_text(COMMANDS["label"], RunConfig)
WITHOUT_DEFAULT = {option.name for option in options_of(RunConfig) if option.default in (MISSING, None)}
SETTINGS = re.findall(r"^#(\w+) =", TEXT, re.MULTILINE)


def test_the_file_says_nothing_as_it_is_printed_and_has_every_option():
    assert all(section == {} for section in tomllib.loads(TEXT).values())
    assert set(SETTINGS) == option_types(RunConfig).keys() - {"config"}


@given(st.sets(st.sampled_from(SETTINGS)))
def test_options_that_are_switched_on_have_their_defaults(tmp_path_factory, chosen):
    file = tmp_path_factory.getbasetemp() / "run.toml"
    text = TEXT.replace('#images = ""', 'images = "photos"').replace('#out = ""', 'out = "run"')
    for name in chosen - WITHOUT_DEFAULT:
        text = text.replace(f"\n#{name} = ", f"\n{name} = ")
    file.write_text(text)
    plain = parse(["--images", "photos", "--out", "run"])
    assert parse(["--config", str(file)]) == replace(plain, config=str(file))
    assert read_toml(str(file), RunConfig, "--config").keys() == (chosen - WITHOUT_DEFAULT) | {"images", "out"}


def classes_of_options():
    """(command, class of its options) of each command that takes a file; those of score passes are one class each."""
    for name in ("label", "score", "release build"):
        yield pytest.param(COMMANDS[name], COMMANDS[name].options_class(), id=name)
    for name, known in PASSES.items():
        if known.options:
            yield pytest.param(COMMANDS["score"], known.options, id=f"score --pass {name}")


@pytest.mark.parametrize(("command", "kind"), [*classes_of_options()])
def test_what_a_command_prints_is_taken_as_it_is_printed(tmp_path, command, kind):
    text, values = options_file_text(command, kind), {}
    for option in options_of(kind):
        if option.default not in (MISSING, None) and option.name != command.takes_file:
            values[option.name] = option.default
            text = text.replace(f"\n#{option.name} = ", f"\n{option.name} = ")
    (tmp_path / "options.toml").write_text(text)
    assert read_toml(str(tmp_path / "options.toml"), kind, "--config") == values
