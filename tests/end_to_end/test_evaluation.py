"""The evaluation of a model, submitted to a real Ray cluster."""

import json

import pytest

from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.job import evaluate
from pipeline.evaluation.tasks import find_tasks
from pipeline.options import from_options
from tests.end_to_end.submitting import submit_script
from tests.pipeline.evaluation.make import make_folders
from tests.pipeline.make import tree

pytestmark = pytest.mark.ray


@pytest.mark.thorough
def test_a_submitted_evaluation_leaves_the_bytes_of_one_in_this_process(head, tmp_path):
    folder = make_folders(tmp_path / "in", 12)
    given = {"images": str(folder / "photos"), "masks": str(folder / "masks"), "model": "fake", "shard_size": 4}
    here = from_options(EvaluationConfig, given | {"out": str(tmp_path / "here"), "engine": "inline"}, missing=None)
    evaluate(find_tasks(here), here)
    options = [part for name, value in given.items() for part in ("--" + name.replace("_", "-"), str(value))]
    job = submit_script(head, ["python", "jobs/evaluate.py", *options, "--out", str(tmp_path / "there")])
    assert job.wait() == "SUCCEEDED", job.logs()
    here_files, there_files = (
        {name: content for name, content in tree(tmp_path / out).items() if not name.startswith("run/")}
        for out in ("here", "there")
    )
    assert "risk_coverage.png" in here_files
    assert there_files == here_files
    assert json.loads(there_files["evaluation.json"])["counts"]["measured"] == 12
