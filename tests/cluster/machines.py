"""Machines of a room: each has its own address, processes, shared memory and disk, and hangs on one switch by a cable.

A machine can lose its power and its cable. Nothing says goodbye then: no connection is closed, as with real ones.
"""

import itertools
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

NETWORK = "10.77.0"
SWITCH = "switch"
DISK = Path("/mnt")
"""What lies below it is on the machine's own disk. All else is read by all machines, as the same installed software."""
DISK_BYTES = 2 << 30
_INIT = f"""
mount -t tmpfs -o size={DISK_BYTES} disk {DISK} && mount -t tmpfs -o size=512m shm /dev/shm || exit 1
mkdir {DISK}/tmp {DISK}/home && echo up
while :; do sleep 86400 & wait $!; done
"""
"""The first process of a machine; a shell, since it takes in the orphans."""


def command(*words, **options):
    """Run a program that must succeed; returns what it printed."""
    ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)
    assert ended.returncode == 0, f"{' '.join(map(str, words))}: {ended.stderr or ended.stdout}"
    return ended.stdout


class Network:
    """The switch, and the machines on it. This process is on it, too."""

    def __init__(self):
        self._numbers = itertools.count(1)
        self.machines = []
        command("ip", "link", "add", SWITCH, "type", "bridge")
        command("ip", "link", "set", SWITCH, "up")
        command("ip", "address", "add", f"{NETWORK}.254/24", "dev", SWITCH)

    def machine(self, name):
        """A new machine, switched on."""
        machine = Machine(name, next(self._numbers))
        self.machines.append(machine)
        return machine

    def close(self):
        """Switch everything off."""
        for machine in self.machines:
            machine.power_off()
        command("ip", "link", "delete", SWITCH)


class Machine:
    """A computer, as far as programs can tell."""

    def __init__(self, name, number):
        self.name = name
        self.is_spoiled = False
        """Not to be used by a further scenario: what happened to it, or is on its disk, would be seen there."""
        self.address = f"{NETWORK}.{number}"
        self._cable = f"cable{number}"
        self._programs = []
        self._shell = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc",
             "sh", "-c", f"hostname {name}; {_INIT}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert (said := self._shell.stdout.readline()) == "up\n", f"{name} did not come up: {said}"
        (self._init,) = psutil.Process(self._shell.pid).children()
        self._namespace = _namespace(self._init.pid)
        command("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._init.pid)
        command("ip", "link", "set", self._cable, "master", SWITCH, "up")
        self.call("ip", "link", "set", "lo", "up")
        self.call("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.call("ip", "link", "set", "eth0", "up")

    @property
    def is_on(self):
        return self._init.is_running()

    def file(self, path):
        """A path on this machine, as this process reaches it."""
        return Path(f"/proc/{self._init.pid}/root{path}")

    def call(self, *words, **options):
        """Run a program on the machine to its end; returns what it printed."""
        return command(*self._enter(), *words, **options)

    def start(self, *words, environment=None):
        """Start a program on the machine. Its output goes to the file that is returned."""
        log = self.file(DISK / f"{len(self._programs)}.log")
        own = {"TMPDIR": str(DISK / "tmp"), "HOME": str(DISK / "home")}
        with log.open("wb") as output:
            self._programs.append(
                subprocess.Popen(
                    [*self._enter(), *map(str, words)],
                    env=os.environ | own | (environment or {}),
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
        return log

    def programs(self):
        """Those that were started here and still run."""
        return [child for program in self._programs if program.poll() is None for child in _children(program.pid)]

    def processes(self):
        """All that runs here."""
        return [process for process in psutil.process_iter() if _namespace(process.pid) == self._namespace]

    def running(self, title):
        """The titles of the processes here that begin so."""
        titles = []
        for process in self.processes():
            with suppress(psutil.Error):
                titles.append(" ".join(process.cmdline()).strip())
        return [found for found in titles if found.startswith(title)]

    def replicas(self):
        """The titles of the replicas here; Ray writes what they do into them."""
        return self.running("ray::Replica")

    def unplug(self):
        """Pull the cable: what is under way is lost, and nobody is told."""
        self.is_spoiled = True
        command("ip", "link", "set", self._cable, "down")

    def plug(self):
        """Put the cable back."""
        command("ip", "link", "set", self._cable, "up")

    def shut_down(self, patience_s=10):
        """Ask all programs to end, then switch the machine off."""
        asked = self.programs()
        for program in asked:
            program.terminate()
        psutil.wait_procs(asked, patience_s)
        self.power_off()

    def power_off(self):
        """All processes end at once, and no packet leaves the machine."""
        if not self.is_on:
            return
        self.unplug()
        self._init.kill()
        self._shell.wait()
        for program in self._programs:
            program.wait()
        self._shell.stdout.close()

    def _enter(self):
        return ["nsenter", "-t", str(self._init.pid), "--net", "--mount", "--pid", "--uts", "--ipc"]


def wait_until(is_so, timeout_s, what, every_s=0.5):
    """Wait for something; returns what made it so. Fails with `what` when time is up."""
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(every_s)
    return found


def _children(pid):
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None
