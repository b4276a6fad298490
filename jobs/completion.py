"""`sod completion SHELL`: a script by which a shell completes commands and options. shtab writes it."""

import argparse
from collections.abc import Sequence
from typing import Any

import shtab

from jobs.command import EXECUTABLE
from jobs.command_line import DONE, USAGE, report
from jobs.commands import COMMANDS
from jobs.help import help_parser
from pipeline.benchmarks.kinds import KINDS

_USAGE = f"""usage: {EXECUTABLE} completion {{{",".join(shtab.SUPPORTED_SHELLS)}}}

Print a script that completes commands and options. In bash, for example:
  {EXECUTABLE} completion bash > ~/.local/share/bash-completion/completions/{EXECUTABLE}
In zsh, into a folder of $fpath:
  {EXECUTABLE} completion zsh > ~/.zfunc/_{EXECUTABLE}"""


def print_completion(arguments: Sequence[str]) -> int:
    """Print the script for the shell that is named."""
    if len(arguments) != 1 or arguments[0] not in shtab.SUPPORTED_SHELLS:
        asked = arguments[:1] in (["--help"], ["-h"])
        (print if asked else report)(_USAGE)
        return DONE if asked else USAGE
    print(shtab.complete(_whole_parser(), arguments[0]))
    return DONE


def _whole_parser() -> argparse.ArgumentParser:
    """All commands and their options; it parses nothing."""
    parser = argparse.ArgumentParser(prog=EXECUTABLE, add_help=False, allow_abbrev=False)
    top = parser.add_subparsers()
    groups: dict[str, Any] = {}
    for name, command in COMMANDS.items():
        group, _, word = name.rpartition(" ")
        if group and group not in groups:
            groups[group] = top.add_parser(
                group, help=f"see {EXECUTABLE} {group} --help", add_help=False
            ).add_subparsers()
        own = [help_parser(command, command.options_class())] if command.config else []
        added = (groups[group] if group else top).add_parser(word, parents=own, add_help=False, help=command.does)
        if command.place[0]:
            place: Any = added.add_argument(command.place[0])
            place.complete = shtab.FILE
        if command.name == "bench":
            added.add_argument("KIND", choices=KINDS)
    top.add_parser("completion", add_help=False).add_argument("SHELL", choices=shtab.SUPPORTED_SHELLS)
    return parser
