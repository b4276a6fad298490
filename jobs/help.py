"""What `--help` prints: how to use a command, examples, the options that most people need, then all others by group.

Texts come from the configuration classes (`pipeline/option_texts.py`) and from the table of commands (`commands.py`).
"""

import argparse
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import shtab

from jobs.command import Command
from jobs.log_format import FORMATS, OPTION
from pipeline.option_texts import Option, about, options_of, part

_COLUMNS = 80
_LONGEST_CHOICES = 40
_KINDS = {str: "TEXT", int: "INT", float: "NUMBER", Path: "PATH"}


def help_text(command: Command, config: type, preset: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The help of a command whose options are those of `config`, at most 80 columns wide.

    Args: preset: defaults of the command that differ from those of `config`.
    """
    return help_parser(command, config, preset).format_help()


def help_parser(
    command: Command, config: type, preset: Mapping[str, Any] = MappingProxyType({})
) -> argparse.ArgumentParser:
    """A parser that describes the options of a command. It formats help and completions; it parses nothing."""
    options = [replace(option, default=preset.get(option.name, option.default)) for option in options_of(config)]
    by_name = {option.name: option for option in options}
    common = [by_name[name] for name in command.common]
    first = [option for option in options if option.default is MISSING and option not in common]
    parser = argparse.ArgumentParser(
        prog=command.called(),
        usage=_usage(command, [*first, *common]),
        description="\n\n".join(filter(None, (_wrapped(about(config)), _examples(command)))),
        formatter_class=_Format,
        add_help=False,
        allow_abbrev=False,
    )
    top = parser.add_argument_group("common options" if command.common else "options")
    for option in (*first, *common):
        _add(top, option, command)
    rest = [option for option in options if option not in first and option not in common]
    for section in dict.fromkeys(option.section for option in rest):
        group = top
        if section or command.common:
            text = _wrapped(about(part(config, section)), indent=2) if section else None
            group = parser.add_argument_group(
                f"{section.replace('_', ' ')} options" if section else "other options", text
            )
        for option in rest:
            if option.section == section:
                _add(group, option, command)
    _add_shared(parser.add_argument_group("with every command"), command)
    return parser


class _Format(argparse.RawDescriptionHelpFormatter):
    """Of at most 80 columns; descriptions are wrapped already."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(_COLUMNS, shutil.get_terminal_size().columns))


def _usage(command: Command, first: list[Option]) -> str:
    """Only what has to be given: all options in one line are no help."""
    needed = [option for option in first if option.default is MISSING]
    places = [option.flag for option in needed if option.is_place] + list(filter(None, command.place[:1]))
    named = [
        f"{_names(option, command)[0]} {option.flag.upper() if option.choices else _metavar(option)}"
        for option in needed
        if not option.is_place and option.name != command.place[1]
    ]
    return " ".join([command.called(), *places, *named, "[options]"])


def _examples(command: Command) -> str:
    lines = ["examples:"] if command.examples else []
    for arguments, does in command.examples:
        lines += textwrap.wrap(does, _COLUMNS - 2, initial_indent="  # ", subsequent_indent="  # ")
        words = f"{command.called()} {arguments}".rstrip()
        lines.append(
            " \\\n".join(
                textwrap.wrap(
                    words,
                    _COLUMNS - 4,
                    initial_indent="  ",
                    subsequent_indent="      ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
        )
    return "\n".join(lines)


def _wrapped(text: str, indent: int = 0) -> str:
    """Paragraphs of at most 80 columns; lines that are set in, as in lists, keep that."""
    lines = []
    for line in text.splitlines() or [""]:
        set_in = " " * (len(line) - len(line.lstrip()))
        below = f"{set_in}  " if set_in else ""
        lines.append(textwrap.fill(line, _COLUMNS - indent, subsequent_indent=below, break_on_hyphens=False))
    return "\n".join(lines).strip()


def _add(group: Any, option: Option, command: Command) -> None:
    text = option.text.replace("%", "%%")
    if option.kind is bool and not option.takes_many:
        # The name that changes something: what is on already is turned off.
        flags = [f"--{option.flag}"] if option.default is not True else [f"--no-{option.flag}", f"--{option.flag}"]
        said = f"{text} [default: {'on' if option.default else 'off'}]" if option.default is True else text
        group.add_argument(*flags, dest=option.name, action="store_true", help=said)
        return
    names = [] if option.is_place else _names(option, command)
    many = {"nargs": "*"} if option.takes_many else {}
    destination = {} if option.is_place else {"dest": option.name}
    action = group.add_argument(
        *(names or [option.flag]),
        **destination,
        **many,
        metavar=_metavar(option),
        choices=option.choices or None,
        help=" ".join(filter(None, (text, _long_choices(option), _default(option).replace("%", "%%")))),
    )
    if option.kind in (str, Path) and not option.choices:
        action.complete = shtab.FILE


def _names(option: Option, command: Command) -> list[str]:
    return [*(name for name, field in command.short if field == option.name), f"--{option.flag}"]


def _add_shared(group: Any, command: Command) -> None:
    if command.takes_file:
        group.add_argument("--init", action="store_true", help=f"Print a file for --{command.takes_file}.")
    if command.answers:
        group.add_argument("--json", action="store_true", help="Print the result as JSON, on a terminal too.")
    group.add_argument(OPTION, choices=FORMATS, help=f"How to write logs to stderr. [default: {FORMATS[0]}]")
    group.add_argument("-h", "--help", action="store_true", help="Print this help.")


def _metavar(option: Option) -> str:
    choices = f"{{{','.join(option.choices)}}}"
    if option.choices:
        return choices if len(choices) <= _LONGEST_CHOICES else "NAME"
    return option.flag if option.is_place else option.metavar or _KINDS.get(option.kind, "TEXT")


def _long_choices(option: Option) -> str:
    return f"One of {', '.join(option.choices)}." if option.choices and _metavar(option) == "NAME" else ""


def _default(option: Option) -> str:
    if option.default is MISSING:
        return "" if option.is_place else "(required)"
    if option.default in ("", None, ()):
        return ""
    shown = " ".join(map(str, option.default)) if option.takes_many else str(option.default)
    return f"[default: {shown}]"
