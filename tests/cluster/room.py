"""A room for a cluster: network, processes and mounts that nobody else on this machine sees, and that go with it.

`python -m tests.cluster.room COMMAND…` runs a command in one. Nothing outside is touched: no bridge, address or route
of this machine changes. When the command ends, everything that it started ends too, whatever happened.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "SOD_CLUSTER_ROOM"
TOOLS = ("unshare", "nsenter", "ip", "mount")
_NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc")
_PR_SET_PDEATHSIG = 1


def why_not():
    """Why there can be no room here, in words; "" if there can."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"there is no {' and no '.join(missing)} here (Debian: util-linux, iproute2)"
    tried = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"namespaces are not allowed here ({tried.stderr.strip() or f'exit code {tried.returncode}'})"
    return ""


def run(command):
    """Run a command in a room of its own. Returns its exit code."""
    # `lo` is down in a new network, and a token or proxy of the outside is of no use in it.
    inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    room = subprocess.Popen([*_unshare(), *inside], env=environment | {MARK: "1"}, preexec_fn=_end_with_parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command by itself, which then tidies up
    return room.wait()


def is_inside():
    """Is this process in a room?"""
    return MARK in os.environ


def _unshare():
    of_user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ["unshare", *of_user, *_NAMESPACES]


def _end_with_parent():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    if reason := why_not():
        print(f"skipped: {reason}. The tests of a cluster need network, process and mount namespaces", file=sys.stderr)
        sys.exit(0)
    sys.exit(run(sys.argv[1:]))
