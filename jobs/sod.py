"""`sod NAME …`: every job under one command. `commands.py` lists the names."""

import importlib
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.command import EXECUTABLE, Command
from jobs.command_line import DONE, USAGE, report, run_job
from jobs.commands import COMMANDS
from pipeline.options import did_you_mean

_NAME_COLUMNS = 20


def run() -> None:
    """Run the command that the first words name; exits with its code. The installed `sod` is this."""
    run_job(main)


def main() -> int:
    """Run the command that the first words name, or print what there is."""
    words = sys.argv[1:]
    if words[:1] == ["--version"]:
        print(f"{EXECUTABLE} {_version()}")
        return DONE
    if words[:1] == ["completion"]:
        from jobs.completion import print_completion

        return print_completion(words[1:])
    command, rest = _found(words)
    if command is not None:
        sys.argv[1:] = [*filter(None, [command.word]), *rest]
        job: Callable[[], int] = importlib.import_module(f"jobs.{command.script}").main
        return job()
    group = words[0] if words and words[0] in _groups() else ""
    listed = {name: one for name, one in COMMANDS.items() if name.startswith(f"{group} " if group else "")}
    wrong = words[1:2] if group else words[:1]
    if wrong in ([], ["--help"], ["-h"]):
        print(_list(group, listed))
        return DONE
    names = [name.removeprefix(f"{group} ") for name in listed] if group else [*_groups(), *COMMANDS]
    known = f"{EXECUTABLE} {group}".strip()
    report(
        f"error: there is no command {known} {wrong[0]}.{did_you_mean(wrong[0], names)} List them with: {known} --help"
    )
    return USAGE


def _found(words: list[str]) -> tuple[Command | None, list[str]]:
    for length in (2, 1):
        if command := COMMANDS.get(" ".join(words[:length])):
            return command, words[length:]
    return None, words


def _groups() -> set[str]:
    return {name.split()[0] for name in COMMANDS if " " in name}


def _list(group: str, listed: Mapping[str, Command]) -> str:
    lines = [f"usage: {EXECUTABLE} {group or 'COMMAND'} …; each command has --help", ""]
    if not group:
        lines += [
            "Turn images into a salient-object benchmark: label them, release what is sure,",
            "and measure models on it.",
            "",
        ]
    lines += [f"  {name:{_NAME_COLUMNS}}  {command.does}" for name, command in listed.items()]
    if not group:
        lines += [
            f"  {'completion':{_NAME_COLUMNS}}  complete commands in a shell",
            f"  {'--version':{_NAME_COLUMNS}}  print the version of {EXECUTABLE}",
            "",
            f"Begin with: {EXECUTABLE} demo, or {EXECUTABLE} predict PHOTOS --out MASKS",
        ]
    return "\n".join(lines)


def _version() -> str:
    try:
        return version("sod-benchmark")
    except PackageNotFoundError:  # a checkout that is not installed
        return "of this checkout"


if __name__ == "__main__":
    run_job(main)
