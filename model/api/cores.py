"""How many CPU cores one photo may be computed on: those that this process really has."""

import os
from pathlib import Path

import psutil

_CONTAINER = Path("/sys/fs/cgroup")
"""Where a process reads the limits of its control group (version 2)."""


def usable_cores() -> int:
    """Cores that this process may use, at least 1: not two threads of one core, nor more than its container's share.

    Threads that find no core make the others wait: with other programs on both cores, two took eight times the CPU time
    of one.
    """
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(ours, psutil.cpu_count(logical=False) or ours, _share() or ours))


def _share() -> int | None:
    """The container's limit in cores, rounded up; None if it has none."""
    try:
        quota, period = (_CONTAINER / "cpu.max").read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):  # no control group, or the word "max"
        return None
