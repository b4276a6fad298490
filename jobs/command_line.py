"""What every job does around its one call: logging, and errors turned into exit codes.

0 done · 1 failed · 2 the request was wrong · 3 finished, but more images failed than is allowed.
"""

import logging
import sys
from collections.abc import Callable

from model.config import REFERENCE_PRESET, EnsembleConfig

DONE, FAILED, USAGE, SOME_FAILED = 0, 1, 2, 3


def run_job(job: Callable[[], int]) -> None:
    """Run `job` and exit with its code, or with that of the error it raises; logs go to stderr."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    for chatty in ("httpx", "urllib3", "fsspec", "diffusers"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    sys.exit(_exit_code(job))


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
