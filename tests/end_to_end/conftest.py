"""One Ray cluster for the whole session."""

import pytest

from jobs.local_ray import local_ray
from tests.end_to_end.submitting import INPUT, ROOT, Job


@pytest.fixture(scope="session")
def head():
    with local_ray(cpus=2) as running:
        yield running


@pytest.fixture
def submit(head):
    def submit_job(out, *options):
        entrypoint = ["python", "jobs/coco_pseudolabel.py", *INPUT, "--out", str(out), *map(str, options)]
        return Job(head, head.submit(entrypoint, ROOT))

    return submit_job
