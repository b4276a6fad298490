"""The room's machines, shared by all scenarios, and the table of their outcomes that is printed at the end.

Run by `make cluster`. Elsewhere these tests are skipped, since they need a network of their own.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.cluster import room, store
from tests.cluster.cluster import PYTHON, ROOT, START_S, Lab
from tests.cluster.machines import Network, wait_until
from tests.cluster.runs import SHARD_SIZE, SLEEP_S, committed, digests, upload
from tests.pipeline.make import make_collection

OUTCOMES = []
RESULTS = Path(os.environ.get("CLUSTER_RESULTS", ROOT / "out" / "cluster.json"))


@dataclass
class Outcome:
    """What came of a scenario."""

    scenario: str
    outcome: str = "FAILED"
    recovered_s: float | None = None
    """From the fault until the job had ended, without the time that the model takes for the images that were left."""
    seconds: float = 0.0


def pytest_collection_modifyitems(items):
    skip = pytest.mark.skip(reason="needs a network of its own: run make cluster")
    for item in items:
        if "network" in item.fixturenames:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(900))
            if not room.is_inside():
                item.add_marker(skip)


@pytest.fixture(scope="session")
def network():
    network = Network()
    yield network
    network.close()


@pytest.fixture(scope="session")
def bare_lab(network):
    """The object store, without a cluster."""
    machine = network.machine("store")
    lab = Lab(network, machine)
    log = machine.start(PYTHON, "-m", "tests.cluster.store", environment={"PYTHONPATH": str(ROOT)})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment.items():
            patch.setenv(name, value)
        import s3fs

        def is_there():
            try:
                s3fs.S3FileSystem(skip_instance_cache=True).mkdir(store.BUCKET)
            except OSError:
                return False
            return True

        wait_until(is_there, START_S, log.read_text)
        yield lab


@pytest.fixture(scope="session")
def collection(bare_lab, tmp_path_factory):
    """The images of most scenarios, in the store."""
    return upload(tmp_path_factory.mktemp("in") / "in")


@pytest.fixture(scope="session")
def undisturbed(run_fake, collection):
    """Digests of an uninterrupted run without Ray."""
    out = f"s3://{store.BUCKET}/undisturbed"
    run_fake(out, collection)
    return digests(out)


@pytest.fixture(scope="session")
def images_on_disk(collection, tmp_path_factory):
    """The images of most scenarios on a disk, for those that put them onto disks of machines."""
    inputs = make_collection(tmp_path_factory.mktemp("disk") / "in", collection.count)
    return inputs.images


@pytest.fixture(scope="session")
def few(bare_lab, tmp_path_factory):
    """The images of a single shard, in the store."""
    return upload(tmp_path_factory.mktemp("few") / "in", SHARD_SIZE)


@pytest.fixture(scope="session")
def few_undisturbed(run_fake, few):
    """Digests of an uninterrupted run on the few images, without Ray."""
    out = f"s3://{store.BUCKET}/few-undisturbed"
    run_fake(out, few)
    return digests(out)


@pytest.fixture(scope="session")
def run_fake():
    def run_here(out, collection):
        from pipeline.config import RunConfig
        from pipeline.options import from_options
        from pipeline.run import run

        words = list(map(str, collection.options("fake")))
        given = {name[2:].replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)}
        numbers = {name: int(given[name]) for name in ("shard_size", "batch_images", "ensemble_size")}
        return run(from_options(RunConfig, given | numbers | {"out": out, "engine": "inline"}, missing=None))

    return run_here


@pytest.fixture(scope="session")
def running_lab(bare_lab):
    """The object store and a head without cores for replicas."""
    bare_lab.start_head("--num-cpus=0")
    return bare_lab


@pytest.fixture
def lab(running_lab):
    """A cluster without nodes; those of the scenario are shut down after it."""
    yield running_lab
    running_lab.tidy()


@pytest.fixture
def out(request):
    """Where the scenario's run is."""
    return f"s3://{store.BUCKET}/{request.node.name[:60].replace('[', '-').strip(']')}"


@dataclass
class Fault:
    """When the fault of a scenario was done, and how much of the run was done then."""

    out: str
    images: int
    at_s: float = 0.0
    shards: int = 0

    def wait_for_commits(self, count):
        wait_until(lambda: len(committed(self.out)) >= count, 200, "no commits came")

    def now(self):
        """The fault is done."""
        self.at_s, self.shards = time.time(), len(committed(self.out))

    def after(self, job, replicas, left=None, sleep_s=SLEEP_S):
        """The job has ended; `replicas` were left."""
        left = self.images - self.shards * SHARD_SIZE if left is None else left
        ended_s = job.about()["end_time"] / 1000
        OUTCOMES[-1].recovered_s = round(ended_s - self.at_s - left * sleep_s / replicas, 1)


@pytest.fixture
def fault(out, collection):
    return Fault(out, collection.count)


@pytest.fixture(autouse=True)
def _outcome(request):
    if "network" not in request.fixturenames:
        yield
        return
    lines = (request.node.obj.__doc__ or request.node.name).strip().splitlines()
    began = time.monotonic()
    how = getattr(request.node, "callspec", None)
    OUTCOMES.append(Outcome(scenario=f"{lines[0]}{f' ({how.id})' if how else ''}"))
    yield
    OUTCOMES[-1].seconds = round(time.monotonic() - began, 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and "network" in item.fixturenames:  # now: the scenarios after it take their time
        item.config.get_terminal_writer().write(f"\n{report.longreprtext}\n")
    if call.when == "call" and "network" in item.fixturenames:
        OUTCOMES[-1].outcome = report.outcome if report.outcome != "passed" else "as it should be"
    return report


def pytest_terminal_summary(terminalreporter):
    if not OUTCOMES:
        return
    terminalreporter.section("scenarios")
    for line in OUTCOMES:
        recovered = "" if line.recovered_s is None else f"{line.recovered_s:.0f} s"
        terminalreporter.write_line(f"{line.scenario:<76} {line.outcome:<16} {recovered:>6} {line.seconds:>6.0f} s")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(line) for line in OUTCOMES], indent=2) + "\n")
