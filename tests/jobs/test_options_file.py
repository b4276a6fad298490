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


@pytest.mark.parametrize("name", ["label", "score", "release build"])
def test_every_command_that_takes_a_file_prints_one(name):
    command = COMMANDS[name]
    tomllib.loads(options_file_text(command, command.options_class()))
