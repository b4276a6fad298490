"""Optional packages: whether they are there, and what installs them."""

import importlib.util
from pathlib import Path

from pipeline.errors import ConfigError

IS_CHECKOUT = (Path(__file__).resolve().parents[1] / "pyproject.toml").is_file()
"""Does this code lie in a checkout, and not in an installed wheel?"""


def require_extra(extra: str, *modules: str) -> None:
    """Check that the packages of an optional extra are installed, without importing them.

    Raises: ConfigError: a module is missing; the message has the command that installs it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"missing packages: {', '.join(missing)}; {extra_command(extra)}")


def extra_command(extra: str) -> str:
    """What installs an extra, in the checkout or beside the wheel."""
    if IS_CHECKOUT:
        return f"run in the project's folder: pip install '.[{extra}]'"
    return f"run pip install 'sod-benchmark[{extra}]'"
