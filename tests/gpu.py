"""`make gpu`: the tests that need a GPU and the benchmarks that can use one, into one JSON: `python -m tests.gpu OUT`.

Each part is a process of its own and is written down when it ends, so one that fails, hangs or dies loses no other.
Exit code 0: everything went well, or there is no GPU, and nothing was run; 1: something failed; the file says what.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.devices import why_no_gpu
from tests.documents import ROOT

DTYPES = ("float32", "bfloat16", "float16")
MEASUREMENTS = (
    ("limit", "--dtypes", *DTYPES, "--compiled", "False", "True"),
    ("speed", "--sizes", "nano", "full", "--dtypes", *DTYPES),
    ("breakdown", "--size", "nano"),
    ("breakdown", "--size", "full", "--dtype", "bfloat16"),
    ("choices", "--choices", "bfloat16", "float16", "contiguous", "math", "compiled"),
    ("choices", "--choices", "bfloat16", "float16", "--size", "full"),
    ("adaptive",),
    ("passes",),
    ("decoders",),
    ("peers", "--parts", "model", "--sizes", "nano", "full"),
    ("peers", "--parts", "model", "--sizes", "nano", "full", "--dtype", "float16"),
)
"""Kind of benchmark and its options; all get `--device cuda`. Each kind that has a device is there."""
TESTS = ("-m", "gpu", "-W", "default", "-p", "no:cacheprovider", "--timeout", "1200", "-o", "faulthandler_timeout=1500")
"""Warnings are shown and fail nothing: kernels of a GPU warn of what they lack, and nobody has seen which do."""
LONGEST_S = 2 * 3600
"""A part that takes longer is ended: something hangs."""
GRACE_S = 20
"""Between asking a part to end and killing it."""
SHOWN_LINES, SHOWN_LETTERS = 40, 4000
"""Of what a part that failed has said at its end."""
ABOUT_CARD = """
import json, torch
card = torch.cuda.get_device_properties(0)
print(json.dumps({
    "name": card.name, "memory_bytes": card.total_memory, "capability": [card.major, card.minor],
    "gpus": torch.cuda.device_count(), "torch": torch.__version__, "cuda": torch.version.cuda,
    "cudnn": torch.backends.cudnn.version(),
}))
"""


@dataclass(frozen=True, slots=True)
class Called:
    """What a command left."""

    code: int
    stdout: str
    said: str
    """The end of its stderr."""


def call(command):
    """Run a command in the project's folder; what it says on stderr is shown as it comes."""
    said = deque(maxlen=SHOWN_LINES)
    options = {"cwd": ROOT, "stderr": subprocess.PIPE, "text": True, "errors": "replace", "start_new_session": True}
    with tempfile.TemporaryFile("w+") as stdout:
        with subprocess.Popen(command, stdout=stdout, **options) as process:
            limit = threading.Timer(LONGEST_S, _end, [process])
            limit.start()
            try:
                for line in process.stderr:
                    sys.stderr.write(line)
                    said.append(line)
                process.wait()
            finally:
                limit.cancel()
                limit.join()
                _end(process)  # Ctrl-C reaches only this process
        stdout.seek(0)
        return Called(process.returncode, stdout.read(), "".join(said))


def _end(process):
    """End a process and all that it started; nothing if it has ended. One that waits for a GPU hears no SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE_S)


def main(out, *, why_not=why_no_gpu, run=call):
    """Run every part and write what it found.

    Args: out: the JSON. why_not: gives the reason why no GPU can be used here, or nothing. run: runs a command.
    """
    if reason := why_not():
        print(f"make gpu: {reason}; nothing was run")
        return 0
    out = Path(out)
    found = {"began": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(run), "failed": []}
    parts = [("card", card), ("tests", tests)]
    parts += [(" ".join(options), measurement(options)) for options in MEASUREMENTS]
    for name, part in parts:
        print(f"make gpu: {name}", file=sys.stderr)
        began = time.monotonic()
        try:
            result = part(run)
        except (ValueError, KeyError, IndexError, OSError, ElementTree.ParseError) as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        result["seconds"] = round(time.monotonic() - began, 1)
        if "error" in result:
            found["failed"].append(name)
        if name in ("card", "tests"):
            found[name] = result
        else:
            found.setdefault("benchmarks", []).append(result)
        write(out, found)
    print(summary(found, out))
    return 1 if found["failed"] else 0


def machine(run):
    """What the GPU is in."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
        return {
            "processor": processor,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "commit": run(["git", "describe", "--always", "--dirty"]).stdout.strip(),
        }
    return {}


def card(run):
    """The card, its driver, and what torch was built for."""
    done = run([sys.executable, "-c", ABOUT_CARD])
    if done.code:
        return failed(done)
    driver = ""
    with suppress(OSError):  # containers may lack it
        asked = run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
        driver = asked.stdout.splitlines()[0].strip() if asked.code == 0 and asked.stdout else ""
    return {**json.loads(done.stdout.splitlines()[-1]), "driver": driver}


def tests(run):
    """Every test that needs a GPU, with its outcome and its time."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "tests.xml")
        done = run([sys.executable, "-m", "pytest", *TESTS, f"--junitxml={report}"])
        each = outcomes(report.read_text(encoding="utf-8")) if report.exists() else []
    counts = {outcome: sum(test["outcome"] == outcome for test in each) for outcome in ("passed", "failed", "skipped")}
    result = {**counts, "each": each}
    if done.code or not counts["passed"]:
        result |= failed(Called(done.code, done.stdout, done.stdout or done.said))
    if not done.code and not counts["passed"]:
        result["error"] = "no test passed"
    return result


def outcomes(report):
    """The tests of a report in JUnit's form, as pytest writes it."""
    found = []
    for case in ElementTree.fromstring(report).iter("testcase"):
        wrong = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        outcome = "passed" if wrong is None else "skipped" if wrong.tag == "skipped" else "failed"
        test = {"test": f"{case.get('classname')}::{case.get('name')}", "outcome": outcome}
        said = "" if wrong is None else wrong.get("message") if outcome == "skipped" else wrong.text or ""
        found.append(test | {"seconds": float(case.get("time", 0))} | ({"said": said[-SHOWN_LETTERS:]} if said else {}))
    return found


def measurement(options):
    """The part that runs a benchmark with these options."""

    def part(run):
        kind, *rest = options
        done = run([sys.executable, "jobs/benchmark.py", kind, *rest, "--device", "cuda", "--json"])
        what = {"kind": kind, "options": rest}
        return what | (failed(done) if done.code else {"rows": json.loads(done.stdout.splitlines()[-1])[kind]})

    return part


def failed(done):
    """What is written of a part that failed."""
    return {"error": f"exit code {done.code}", "said": done.said[-SHOWN_LETTERS:]}


def write(out, found):
    """Write the file whole: whoever looks at it meanwhile, or ends this program, finds all parts that have ended."""
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.tmp")
    beside.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    beside.replace(out)


def summary(found, out):
    """One line that people read."""
    ran, went_well = found["tests"], [one for one in found["benchmarks"] if "rows" in one]
    counts = ", ".join(f"{ran.get(outcome, 0)} {outcome}" for outcome in ("passed", "failed", "skipped"))
    wrong = f"; failed: {', '.join(found['failed'])}" if found["failed"] else ""
    return (
        f"make gpu: {found['card'].get('name', 'a GPU')}: tests {counts}; "
        f"{len(went_well)} of {len(found['benchmarks'])} measurements{wrong}; {out}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
