"""Jobs for the head that all tests of this process share, and what an undisturbed run leaves."""

import pytest

from pipeline.config import RunConfig
from pipeline.options import from_options
from pipeline.run import run
from tests.end_to_end.submitting import INPUT, SAMPLE, digests, submit_script


@pytest.fixture(scope="session")
def run_sample():
    """Runs the sample in this process."""

    def run_here(out, **options):
        given = {"images": str(SAMPLE / "images"), "annotations": str(SAMPLE / "instances_sample.json")}
        given |= {"out": str(out), "model": "fake", "shard_size": 4}
        return run(from_options(RunConfig, given | options, missing=None))

    return run_here


@pytest.fixture(scope="session")
def undisturbed(run_sample, tmp_path_factory):
    """Digests of an uninterrupted run without Ray."""
    out = tmp_path_factory.mktemp("undisturbed")
    run_sample(out, engine="inline")
    return digests(out)


@pytest.fixture
def submit(head):
    """Submits the main job on the sample."""

    def submit_job(out, *options):
        entrypoint = ["python", "jobs/coco_pseudolabel.py", *INPUT, "--out", str(out), *map(str, options)]
        return submit_script(head, entrypoint)

    return submit_job
