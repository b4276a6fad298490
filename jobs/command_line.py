"""What every job does around its one call: logging, and errors turned into exit codes.

0 done · 1 failed · 2 the request was wrong · 3 finished, but more images failed than is allowed.
"""

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from model.config import REFERENCE_PRESET, EnsembleConfig
from pipeline.options import from_options, option_types, with_preset

if TYPE_CHECKING:
    from pipeline.records import Problem

Config = TypeVar("Config")

DONE, FAILED, USAGE, SOME_FAILED = 0, 1, 2, 3
SHOWN_PROBLEMS = 50


def run_job(job: Callable[[], int]) -> None:
    """Run `job` and exit with its code, or with that of the error it raises; logs go to stderr.

    SIGTERM ends it as Ctrl-C does: what is half done is cleaned up, and a line says how to go on.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    for chatty in ("httpx", "httpx2", "urllib3", "fsspec", "diffusers"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    sys.exit(_exit_code(job))


def report(line: str) -> None:
    """Progress goes to stderr: stdout is for the one line of JSON."""
    print(line, file=sys.stderr, flush=True)


def print_problems(problems: Sequence["Problem"]) -> None:
    """Where and what of the first problems."""
    for problem in problems[:SHOWN_PROBLEMS]:
        line = f"{problem.where}: {problem.what}"
        # What was found may have been made to confuse a terminal.
        print("".join(character if character.isprintable() else ascii(character)[1:-1] for character in line))
    if len(problems) > SHOWN_PROBLEMS:
        print(f"and {len(problems) - SHOWN_PROBLEMS} more; --json lists all")


def parse_config(kind: type[Config], arguments: Sequence[str], options: Mapping[str, Any]) -> Config:
    """The preset's options, if --reference is given, overruled by `options`, overruled by the command line's.

    Exits with 2 when they are wrong.
    """
    if "reference" in option_types(kind):
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.add_argument(
            "--reference", action=argparse.BooleanOptionalAction, default=bool(options.get("reference"))
        )
        options = with_preset(options, finder.parse_known_args(arguments)[0].reference)
    config: Config = tyro.cli(
        kind,
        args=arguments,
        default=from_options(kind, options, missing=tyro.MISSING),
        description=kind.__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return config


def options_file(arguments: Sequence[str], option: str) -> str:
    """The file that a command line names by `option`, "" if it names none."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument(option, dest="path", default="")
    return str(finder.parse_known_args(arguments)[0].path)


def log_reference_preset(ensemble: EnsembleConfig) -> None:
    """Say what the reference preset set, what each option does, and which the user set otherwise."""
    logging.info("--reference: as the released SOD-diffusion code predicts, stochastic depth excepted")
    for name, option in REFERENCE_PRESET.items():
        value = getattr(ensemble, name)
        effect = option.effect if value == option.value else "as asked for beside --reference"
        logging.info("  %s = %s: %s", name, value, effect)


def _exit_code(job: Callable[[], int]) -> int:
    from pipeline.errors import PipelineError, Stopped, UsageError

    try:
        return job()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except Stopped as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        return FAILED
    except PipelineError as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:  # a full disk, a lost connection: said with its path, and no fault of the code
        print(f"failed: {error}; what is committed stays, the same command goes on from there", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return FAILED
