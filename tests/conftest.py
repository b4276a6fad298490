"""What holds for every test: shapes in the signatures of `model` are checked, the clock judges no property, and nobody
waits for ever: a test that hangs, or that takes its process with it, ends the run and is named.

Here and not in a test module: all of it has to be in place before anything imports `model`, or torch.
"""

import contextlib
import faulthandler
import gc
import io
import logging
import os
import resource
import signal
import threading
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes with as many threads as there are cores wait for each other's: some tests took twice as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Below `make test`, a make that a test starts would announce its directories among what it prints.
for name in [name for name in os.environ if name.startswith(("MAKE", "MFLAGS"))]:
    del os.environ[name]

jaxtyping.install_import_hook("model", "beartype.beartype")

# What collection imports and makes stays to the end. Looking through it for garbage again and again, in each of the
# processes of `make test`, took a fourth of collection.
gc.disable()

# No deadlines: the suite also runs beside trainings that take nearly all of the machine.
for profile, examples in (("quick", 10), ("suite", 25), ("thorough", 1000)):
    settings.register_profile(
        profile, deadline=None, max_examples=examples, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

HEADS = []
"""The Ray head of this process, while there is one."""
RAY_FILES = set()
ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_CPU)


def pytest_configure(config):
    # What asks a test process to end is seen with the line that it stood at; without this it ends without a word.
    with contextlib.suppress(ValueError, RuntimeError):
        faulthandler.register(signal.SIGTERM, chain=True)
    # A shell ignores Ctrl-C for what it starts in the background, and every child inherits that: jobs that a test
    # interrupts would not hear it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Without a GPU, tests that need one are skipped. Files that start clusters come first: at the end, short ones keep
    both processes of `make test` busy.
    """
    from pipeline.devices import why_no_gpu

    for_a_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if for_a_gpu and (reason := why_no_gpu()):
        for item in for_a_gpu:
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {reason}"))
    RAY_FILES.update(item.path for item in items if item.get_closest_marker("ray"))
    items.sort(key=lambda item: item.path not in RAY_FILES)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist loadfile`, with one process for the files with clusters, which idle much, and the others at the other
    end of the list.

    With two processes that waited for clusters, the first five minutes had a core to spare.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class FromBothEnds(LoadFileScheduling):
        def _assign_work_unit(self, node):
            if node is not self.nodes[0]:
                self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
            super()._assign_work_unit(node)

    return FromBothEnds(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Say how a test process ended: xdist names the test, and not the signal."""
    if error:
        with contextlib.suppress(Exception):
            code = node.gateway._io.popen.wait(5)
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            print(f"\ntest process {node.gateway.id} ended by {how}", flush=True)


@pytest.fixture(scope="module")
def plain_figures():
    """Figures of evaluations are composed, but not painted, which takes a third of a second each."""
    from PIL import Image

    from pipeline.evaluation import plots

    blank = io.BytesIO()
    Image.new("L", (2, 2)).save(blank, "PNG")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_png", lambda _: blank.getvalue())
        yield


@pytest.fixture
def head():
    """The Ray head of this test process: one for all files, since each takes seconds to come up and to go."""
    return running_head()


@pytest.fixture(scope="module")
def on_cluster():
    """A connection of this process to the head: `run` and `run_tasks` use it."""
    from pipeline.replicas.on_ray.authenticated import ray

    ray.init(address=running_head().address, log_to_driver=False, logging_level=logging.WARNING)
    yield
    ray.shutdown()


def running_head():
    """The head, started if it is not there."""
    # Imported first: it chooses the authentication that Ray reads at import, which the head then shares.
    import pipeline.replicas.on_ray.authenticated  # noqa: F401
    from pipeline.replicas.local_ray import LocalRay

    if not HEADS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(ROOT))  # workers of a driver in this process import us by name
            HEADS.append(LocalRay(cpus=2, gpus=0))  # the same cluster wherever the tests are run
        HEADS[0].wait_until_ready()
    return HEADS[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Stop the head after the last file that needs it: an idle one takes a twelfth of a core."""
    result = yield
    if HEADS and (nextitem is None or nextitem.path not in RAY_FILES):
        HEADS.pop().stop()
    return result


@pytest.fixture(autouse=True)
def leaves_nothing_behind():
    """A handler, limit or timer that a test leaves could end this process in the middle of another test."""
    before = _state()
    yield
    after = _state()
    left = [name for name in before if before[name] != after[name]]
    assert not left, f"left behind: {', '.join(f'{name}: {after[name]} (was {before[name]})' for name in left)}"


def _state():
    return {
        "signal handlers": {number.name: signal.getsignal(number) for number in SIGNALS},
        "limits": [resource.getrlimit(limit) for limit in LIMITS],
        "timers": sorted(thread.name for thread in threading.enumerate() if isinstance(thread, threading.Timer)),
        "folder": os.getcwd(),
    }
