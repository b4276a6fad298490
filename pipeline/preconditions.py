"""Checks that refuse a request before any work: optional packages, and targets that can't be written to."""

import importlib.metadata
import importlib.util
import tempfile
from pathlib import Path

from pipeline.errors import ConfigError

_PROJECT = "sod-benchmark"


def require_extra(extra: str, *modules: str) -> None:
    """Check that the packages of an optional extra are installed, without importing them.

    Raises: ConfigError: a module is missing; the message has the command that installs it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"missing packages: {', '.join(missing)}; {extra_command(extra)}")


def extra_command(extra: str) -> str:
    """What installs an extra: pip finds it by the project's name where a wheel was installed, else in the checkout."""
    try:
        importlib.metadata.distribution(_PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return f"run in the project's folder: pip install '.[{extra}]'"
    return f"run pip install '{_PROJECT}[{extra}]'"


def require_target(path: Path, option: str) -> None:
    """Check that a folder exists or can be created, and that files can be written to it; leave no trace.

    Raises: ConfigError: nothing can be written there; the message names the option and the folder.
    """
    existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    try:
        tempfile.TemporaryDirectory(prefix=".trial-", dir=existing).cleanup()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{option} {path}: nothing can be written there ({reason}); give another one") from error
