"""A command: its name, the script that it is, and what `--help` shows first. `commands.py` lists all.

`sod NAME …` and `python jobs/SCRIPT.py …` are the same. Names that a person is told follow the one she used.
"""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EXECUTABLE = "sod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command; `name` is what follows `sod`."""

    name: str
    script: str
    """Module in `jobs/`."""
    word: str = ""
    """Its word within a script that has several commands."""
    does: str
    """One line for the list of all commands: a verb first, no full stop."""
    examples: tuple[tuple[str, str], ...] = ()
    """Arguments, and what they do."""
    common: tuple[str, ...] = ()
    """Fields of options that `--help` shows first."""
    place: tuple[str, str] = ("", "")
    """How `--help` calls what stands before the first option, and the field of the option that it is short for."""
    short: tuple[tuple[str, str], ...] = ()
    """Short names: `--out`, and the field of the option that it stands for."""
    takes_file: str = ""
    """Option that takes a TOML file of options, which `--init` prints."""
    config: str = ""
    """`module:Class` of its options; empty if a word chooses among several, or another command takes them."""
    answers: bool = True
    """Does it print its result as JSON where stdout is no terminal?"""

    def options_class(self) -> type:
        """The class of its options, imported now."""
        module, _, name = self.config.partition(":")
        found: type = getattr(importlib.import_module(module), name)
        return found

    def spelled_out(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with options in place of short names and of what stands before the first option."""
        short = {name: _flag(field) for name, field in self.short}
        first = [_flag(self.place[1])] if self.place[1] and arguments and not arguments[0].startswith("-") else []
        spelled = [
            f"{short.get(name, name)}{is_there}{value}"
            for name, is_there, value in (argument.partition("=") for argument in arguments)
        ]
        return [*first, *spelled]

    def called(self) -> str:
        """How to call it, in the way in which this process was called."""
        if Path(sys.argv[0]).name.startswith(EXECUTABLE):
            return f"{EXECUTABLE} {self.name}"
        return f"python jobs/{self.script}.py {self.word}".rstrip()


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")
