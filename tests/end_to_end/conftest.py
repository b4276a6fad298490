"""Jobs for the head that all tests of this process share."""

import pytest

from tests.end_to_end.submitting import INPUT, ROOT, Job


@pytest.fixture
def submit(head):
    def submit_job(out, *options):
        entrypoint = ["python", "jobs/coco_pseudolabel.py", *INPUT, "--out", str(out), *map(str, options)]
        return Job(head, head.submit(entrypoint, ROOT))

    return submit_job
