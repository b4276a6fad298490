"""A command: its name, the script that it is, and what `--help` shows first. `commands.py` lists all.

`sod NAME …` and `python jobs/SCRIPT.py …` are the same. Names that a person is told follow the one she used.
"""

import importlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.extras import IS_CHECKOUT
from pipeline.option_texts import options_of

EXECUTABLE = "sod"
_ALONE = ("--json", "--init", "--help", "-h")
"""Options of every command, without values."""


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
    """How `--help` calls the one word that has no name, and the field of the option that it is short for."""
    place_advice: str = ""
    """What to give instead of several."""
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
        """The arguments with options in place of short names, and of what has no name.

        Raises: ConfigError: several words have no name, or the option of one is given too.
        """
        short = {name: _flag(field) for name, field in self.short}
        spelled = [
            f"{short.get(name, name)}{is_there}{value}"
            for name, is_there, value in (argument.partition("=") for argument in arguments)
        ]
        if not self.place[1]:
            return spelled
        called, flag = self.place[0], _flag(self.place[1])
        nameless = self._nameless(spelled)
        is_named = any(word.partition("=")[0].replace("_", "-") == flag for word in spelled)
        if len(nameless) + is_named > 1:
            given = ", ".join(spelled[i] for i in nameless[:3])
            raise ConfigError(f"{called} is given {len(nameless) + is_named} times ({given} …); {self.place_advice}")
        for i in nameless:
            spelled.insert(i, flag)
        return spelled

    def _nameless(self, words: Sequence[str]) -> list[int]:
        """Where words stand that are neither options nor their values."""
        options = {f"--{option.flag}": option for option in options_of(self.options_class())}
        found, taken = list[int](), 0.0
        for i, word in enumerate(words):
            if word.startswith("-"):
                name, is_there, _ = word.partition("=")
                option = options.get(name.replace("_", "-").replace("--no-", "--", 1))
                if is_there or name in _ALONE or (option and option.kind is bool):
                    taken = 0
                else:  # the value of an option that does not exist may follow it
                    taken = math.inf if option and option.takes_many else 1
            elif taken:
                taken -= 1
            else:
                found.append(i)
        return found

    def called(self) -> str:
        """How to call it, in the way in which this process was called; a wheel has no scripts."""
        if not IS_CHECKOUT or Path(sys.argv[0]).name.startswith(EXECUTABLE):
            return f"{EXECUTABLE} {self.name}"
        return f"python jobs/{self.script}.py {self.word}".rstrip()


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")
