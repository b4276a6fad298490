"""The file of options that `--init` prints: every option with its text, switched off, in the sections of its class."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING
from typing import Any

from jobs.command import Command
from pipeline.option_texts import Option, about, options_of, part

_COLUMNS = 100


def options_file_text(command: Command, config: type) -> str:
    """A TOML file that says nothing until a # is taken away in front of an option.

    A section needs no header in the file: names of options are unique, so `threads` may stand anywhere above the first
    header, or below its own.
    """
    lines = [
        f"# Options of {command.called()}. Take away the # in front of an option, and change its value.",
        f"# Then run: {command.called()} --{command.takes_file} FILE. The command line takes precedence.",
    ]
    options = [option for option in options_of(config) if option.in_file and option.name != command.takes_file]
    for section in ["", *dict.fromkeys(option.section for option in options if option.section)]:
        if section:
            lines += ["", "", f"[{section}]", *_comment(about(part(config, section)))]
        for option in options:
            if option.section == section:
                lines += ["", *_comment(" ".join(filter(None, (option.text, _choices(option))))), _setting(option)]
    return "\n".join(lines)


def _comment(text: str) -> Iterator[str]:
    for paragraph in filter(None, text.splitlines()):
        yield from textwrap.wrap(paragraph, _COLUMNS, initial_indent="# ", subsequent_indent="# ")


def _choices(option: Option) -> str:
    return f"One of {', '.join(option.choices)}." if option.choices else ""


def _setting(option: Option) -> str:
    if option.default is MISSING:
        return f"#{option.name} = {_value(option.kind())}  # required"
    if option.default is None:  # no value of TOML means the same
        return f"#{option.name} ="
    return f"#{option.name} = {_value(option.default)}"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)
