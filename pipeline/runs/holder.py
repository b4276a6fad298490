"""Which process holds a lease, and whether it still runs."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

HELD: set[str] = set()
"""Owners in this process. If none of them holds a lease of this process, its session failed to remove it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lease; on the same machine this is enough to see whether the process still runs."""

    owner: str
    """Random, one per session."""
    machine: str
    """Equal for two processes that see each other's process numbers."""
    host: str
    pid: int
    started: float
    """Start of the process in clock ticks since boot, because process numbers are used again and clocks are set."""


def myself(owner: str) -> Holder:
    """This process. Args: owner: see `Holder`."""
    pid = os.getpid()
    return Holder(
        owner=owner, machine=this_machine(), host=socket.gethostname(), pid=pid, started=_started(psutil.Process(pid))
    )


def _started(process: psutil.Process) -> float:
    """When a process began. Ticks since boot, as the kernel counts them: psutil adds the time of boot by today's clock,
    and a clock that was set by an hour made a living session look like another process of the same number."""
    with suppress(OSError, ValueError, IndexError):
        return float(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    return float(process.create_time())


def this_machine() -> str:
    """Host, boot and process namespace: each container on a host numbers its own processes."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "/".join(parts)


def runs(holder: Holder) -> bool | None:
    """Does its session still run? For holders on this machine.

    None: another user's process has its number, and this user may not look at it (`hidepid` of /proc).
    """
    if holder.pid == os.getpid():
        return holder.owner in HELD
    try:
        process = psutil.Process(holder.pid)
        same = abs(_started(process) - holder.started) < 1
        return same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.ZombieProcess:
        return False
    except psutil.Error:
        return None if _is_used(holder.pid) else False


def _is_used(pid: int) -> bool:
    """Is there a process of that number? `hidepid` hides it from psutil, not from a signal."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
