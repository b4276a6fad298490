"""Score passes on a real Ray cluster: the bytes of one process, and an image that kills its replica costs itself."""

import json
import logging
import shutil

import pytest

from pipeline.config import ClusterConfig
from pipeline.passes.check import verify_passes
from tests.end_to_end.submitting import ROOT, submit_script
from tests.pipeline.make import make_collection, make_key
from tests.pipeline.passes.make import (
    KIND,
    copy_of,
    make_run,
    pass_tree,
    score,
    values_of,
    without_passes,
    write_module,
)

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::FutureWarning")]

COUNT = 7
RAY = ClusterConfig(engine="ray", replicas=1)


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """The working folder of a user, which no worker of the cluster has."""
    folder = tmp_path_factory.mktemp("user")
    write_module(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """Candidates in shards of three images; not to be changed."""
    folder = tmp_path_factory.mktemp("predicted")
    return make_run(make_collection(folder / "in", COUNT), folder / "run")


@pytest.fixture(scope="module")
def scored(predicted, user, tmp_path_factory):
    """The same run, scored in this process."""
    run = copy_of(predicted, tmp_path_factory.mktemp("scored") / "run")
    score(run, scale=0.5)
    return run


@pytest.mark.usefixtures("on_cluster", "user")
def test_replicas_give_the_bytes_of_one_process_and_need_no_copy_of_the_user_s_module(predicted, scored, tmp_path):
    run = copy_of(predicted, tmp_path / "run")
    report = score(run, cluster=RAY, scale=0.5)
    assert (report.scored, report.computed) == (COUNT, COUNT)
    assert pass_tree(run) == pass_tree(scored)


@pytest.mark.usefixtures("on_cluster", "user")
def test_an_image_that_always_kills_its_process_is_found_skipped_and_recorded(predicted, tmp_path, caplog):
    run = copy_of(predicted, tmp_path / "run")
    with caplog.at_level(logging.INFO):
        report = score(run, cluster=RAY, die_at=make_key(5))
    assert f"key {make_key(5)} killed its replica again and is skipped" in caplog.text
    assert (report.scored, report.failed) == (COUNT - 1, 1)
    rows = values_of(run)
    assert {key: row.reason for key, row in rows.items() if row.status == "failed"} == {make_key(5): "kills_replica"}
    assert rows[make_key(5)].candidate_sha256
    (check,) = verify_passes(run)
    assert (check.problems, check.left) == ((), 0)
    assert without_passes(run) == without_passes(predicted)


def test_a_submitted_job_scores_with_a_pass_of_the_working_directory(head, predicted, scored, tmp_path):
    project = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__", "nano", "sample", "vendor")
    for layer in ("jobs", "model", "pipeline"):
        shutil.copytree(ROOT / layer, project / layer, ignore=ignored)
    write_module(project)
    run = copy_of(predicted, tmp_path / "run")
    command = ["python", "jobs/score_run.py", run, "--pass", KIND, "--scale", "0.5", "--batch-images", "2"]
    job = submit_script(head, [str(part) for part in (*command, "--replicas", 1)], project)
    assert job.wait() == "SUCCEEDED", job.logs()
    (line,) = [line for line in job.logs().splitlines() if line.startswith("{")]
    assert json.loads(line)["scored"] == COUNT
    assert pass_tree(run) == pass_tree(scored)
