"""Which version of this project runs, and from which commit: for people who look for the code that made a run.

Nothing is compared with it: what decides bytes is in the fingerprint. What can't be found out is left out.
"""

import functools
import importlib.metadata
import subprocess
import tomllib
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, or the folder that the packages are installed in."""
_PACKAGE = "sod-benchmark"
_WHAT_DECIDES = ("model", "pipeline")
_PATIENCE_S = 10.0


@functools.cache
def software(root: Path = ROOT) -> dict[str, str]:
    """`version` of the project, and in a checkout `commit`, followed by `, changed` if its code was edited since.

    A working folder that was uploaded to a cluster has no history, so it has a version alone.
    """
    found = {"version": _version(root), "commit": _commit(root)}
    return {name: value for name, value in found.items() if value}


def _version(root: Path) -> str:
    with suppress(OSError, ValueError, KeyError):
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        if project["name"] == _PACKAGE:
            return str(project["version"])
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(_PACKAGE)
    return ""


def _commit(root: Path) -> str:
    """The commit of a checkout; "" if there is none: packages may lie in the checkout of another project."""
    if not (root / ".git").exists():
        return ""
    commit = _git(root, "rev-parse", "HEAD")
    changed = commit and _git(root, "status", "--porcelain", "--", *_WHAT_DECIDES)
    return f"{commit}, changed" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    """What git answers; "" if it is not installed, takes too long, or fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
