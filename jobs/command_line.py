"""What every job does around its one call: set up logging, parse options, turn errors into exit codes.

0 done · 1 failed or stopped · 2 the request was wrong, no work was begun · 3 finished, but too many images failed.
"""

import argparse
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from jobs.bars import shown_progress
from jobs.command import Command
from jobs.commands import commands_of
from jobs.log_format import OPTION, json_logs, print_traceback, taken_log_format
from jobs.printing import shown_streams
from model.config import REFERENCE_MODEL, REFERENCE_PRESET, EnsembleConfig, ModelConfig
from pipeline.errors import ConfigError
from pipeline.option_texts import options_of
from pipeline.options import did_you_mean, from_options, option_types, read_toml, require_finite, with_preset
from pipeline.replicas.signals import signals_kept
from pipeline.shown import ShownFormatter, indented, printable

if TYPE_CHECKING:
    from pipeline.records import Problem

Config = TypeVar("Config")

DONE, FAILED, USAGE, SOME_FAILED = 0, 1, 2, 3
SHOWN_PROBLEMS = 50


def run_job(job: Callable[[], int]) -> None:
    """Run `job` and exit with its code or with the code of its error. Logs go to stderr.

    Whatever is printed passes through `jobs/printing.py`. SIGTERM ends the job as Ctrl-C does: half-done work is
    cleaned up, and a line says how to resume.
    """
    with shown_streams(), signals_kept(), _logs() as log:
        logging.basicConfig(level=logging.INFO, handlers=[log])
        for chatty in ("httpx", "httpx2", "urllib3", "fsspec", "diffusers"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        sys.exit(_exit_code(job))


@contextmanager
def _logs() -> Iterator[logging.Handler]:
    """Show the stages of this block on stderr, in the chosen format. Gives the handler of log records."""
    try:
        is_json = taken_log_format(sys.argv) == "json"
    except ConfigError as error:
        report(f"error: {error}")
        sys.exit(USAGE)
    if is_json:
        with json_logs() as handler:
            yield handler
        return
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(ShownFormatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
    with shown_progress():
        yield log


def run_commands(script: str, commands: Mapping[str, Callable[[Sequence[str]], int]]) -> int:
    """Run the command that the first argument names, with the arguments behind it."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word in commands:
        return commands[word](sys.argv[2:])
    listed = commands_of(script)
    lines = "\n".join(f"  {one.called()}: {one.does}" for one in listed.values())
    if word in ("--help", "-h"):
        print(f"usage: {next(iter(listed.values())).called().rpartition(' ')[0]} COMMAND …; each has --help\n\n{lines}")
        return DONE
    wrong = f"there is no command {word}.{did_you_mean(word, listed)}" if word else "give a command."
    report(f"error: {wrong} Commands:\n{lines}")
    return USAGE


def answer(document: Mapping[str, Any]) -> None:
    """Print the result for programs: one line of JSON on stdout. People at a terminal get it if they ask for --json."""
    terminal = getattr(sys.stdout, "terminal", sys.stdout)
    if not terminal.isatty() or wants_json():
        print(json.dumps(document, sort_keys=True))


def wants_json() -> bool:
    """Was --json given? Every command that answers takes it."""
    return "--json" in sys.argv


def report(line: str) -> None:
    """Print a line of progress to stderr: stdout is for the one line of JSON."""
    print(line, file=sys.stderr, flush=True)


def print_problems(problems: Sequence["Problem"]) -> None:
    """Print where each of the first problems is, and what it is."""
    for problem in problems[:SHOWN_PROBLEMS]:
        print(printable(f"{problem.where}: {problem.what}"))
    if len(problems) > SHOWN_PROBLEMS:
        print(f"and {len(problems) - SHOWN_PROBLEMS} more; --json lists all")


def parse_config(
    kind: type[Config], arguments: Sequence[str], command: Command, preset: Mapping[str, Any] = MappingProxyType({})
) -> Config:
    """Combine the command line, the file of options if it names one, `preset`, and the reference's options if
    --reference is given; the first one wins.

    Exits with 2 if an option is wrong, and with 0 after printing what --help or --init asks for.
    Raises: ConfigError: the file of options can't be used, or a number is not finite.
    """
    if "--help" in arguments or "-h" in arguments:
        from jobs.help import help_text

        print(help_text(command, kind, preset), end="")
        sys.exit(DONE)
    if command.takes_file and "--init" in arguments:
        from jobs.options_file import options_file_text

        print(options_file_text(command, kind))
        sys.exit(DONE)
    arguments = command.spelled_out(arguments)
    _refuse_misspelt(kind, arguments)
    file = f"--{command.takes_file}" if command.takes_file else ""
    path = value_of(arguments, file) if file else ""
    options = {**preset, **(read_toml(path, kind, file) if path else {})}
    if "reference" in option_types(kind):
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.add_argument(
            "--reference", action=argparse.BooleanOptionalAction, default=bool(options.get("reference"))
        )
        options = with_preset(options, finder.parse_known_args(arguments)[0].reference)
    # Required options are missing here, which a class that checks them all at once does not allow.
    default: Any = from_options(kind, options, missing=tyro.MISSING) if options else None
    config: Config = tyro.cli(
        kind,
        prog=command.called(),
        args=[argument for argument in arguments if argument != "--json" or not command.answers],
        default=default,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    require_finite(config)
    return config


def _refuse_misspelt(kind: type, arguments: Sequence[str]) -> None:
    """Refuse an option that is nearly one of `kind`. tyro says so too, but not if a required one is missing.

    Raises: ConfigError: there is one.
    """
    flags = {f"--{no}{option.flag}" for option in options_of(kind) for no in ("", "no-")} | {"--json", "--init", OPTION}
    for word in arguments:
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in flags and (near := did_you_mean(name, flags)):
            raise ConfigError(f"there is no option {name}.{near}")


def value_of(arguments: Sequence[str], option: str) -> str:
    """What the command line gives for `option`, before it is parsed; "" if it gives nothing."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument(option, dest="value", nargs="?", const="", default="")
    return str(finder.parse_known_args(arguments)[0].value)


def log_reference_preset(ensemble: EnsembleConfig, model: ModelConfig) -> None:
    """Log what the reference preset set, what each option does, and which ones the user overruled."""
    logging.info("--reference: predict as the released SOD-diffusion code does, except for stochastic depth")
    for config, preset in ((ensemble, REFERENCE_PRESET), (model, REFERENCE_MODEL)):
        for name, option in preset.items():
            value = getattr(config, name)
            effect = option.effect if value == option.value else "your own value, which overrules --reference"
            logging.info("  %s = %s: %s", name, value, effect)


def log_upload(folder: Path) -> None:
    """Log what `ray job submit --working-dir` has uploaded, if the folder is such an upload; `.rayignore` limits it."""
    if "working_dir_files" in folder.parts:
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        logging.info("uploaded working directory: %d files, %.1f MB", len(sizes), sum(sizes) / 1e6)


def _notes(error: BaseException) -> list[str]:
    """What stays of the work: see `pipeline.errors.kept`."""
    return list(getattr(error, "__notes__", ()))


def _exit_code(job: Callable[[], int]) -> int:
    from pipeline.errors import PipelineError, Stopped, UsageError

    try:
        return job()
    except UsageError as error:
        report(indented(f"error: {error}"))
        return USAGE
    except Stopped as stop:
        report(indented(f"stopped: {stop}"))
        return FAILED
    except PipelineError as error:
        report(indented(f"failed: {error}"))
        return FAILED
    except OSError as error:  # a full disk or a lost connection: the message has its path, and no traceback helps
        mended = ["Once that is mended, run the same command again"]
        report(indented(". ".join([f"failed: {error}", *(_notes(error) or mended)])))
        return FAILED
    except KeyboardInterrupt as interrupt:
        report(indented(". ".join(["interrupted", *(_notes(interrupt) or ["Run the same command again"])])))
        return FAILED
    except Exception:  # noqa: BLE001 (printed here: Python would print the traceback past the streams)
        print_traceback()
        return FAILED
