"""The demo's options: what is refused before a Ray head is started. The demo itself is in tests/end_to_end."""

import pytest

from jobs import demo
from model.config import ModelConfig
from pipeline.config import ClusterConfig
from pipeline.options import as_arguments


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--no-such-option", "1"), "--no-such-option"),
        (("--ensemble-size", "1"), "--ensemble-size is 1"),
        (("--out", "/proc/no-such-folder"), "--out /proc/no-such-folder: nothing can be written there"),
    ],
)
def test_a_wrong_request_starts_no_head(run_here, monkeypatch, options, said):
    monkeypatch.setattr(demo, "local_ray", None)
    code, stdout, stderr = run_here(demo.main, "demo.py", *options)
    assert (code, stdout) == (2, "")
    assert said in " ".join(stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("is_checkout", "program", "uploaded"),
    [(True, ["python", "jobs/score_run.py"], demo.PROJECT), (False, ["python", "-m", "jobs.score_run"], None)],
)
def test_jobs_are_submitted_with_the_checkout_or_as_modules_of_the_wheel(
    monkeypatch, capsys, is_checkout, program, uploaded
):
    submitted = []

    class Head:
        def submit(self, entrypoint, working_dir):
            submitted.append((entrypoint, working_dir))
            return "job-1"

        def follow(self, _submission):
            pass

        def succeeded(self, submission):
            return submission == "job-1"

    monkeypatch.setattr(demo, "IS_CHECKOUT", is_checkout)
    assert demo._follow_job(Head(), "score_run", ["run", "--pass", "flip"]) == 0
    assert submitted == [([*program, "run", "--pass", "flip"], uploaded)]
    assert ("--working-dir . " in capsys.readouterr().out) == is_checkout


def test_the_pass_has_the_options_of_model_and_cluster_that_the_run_has():
    assert as_arguments(ModelConfig()) == as_arguments(ClusterConfig()) == []
    model = ModelConfig(model="fake", compile=True, keep_memory=False, threads=2)
    assert as_arguments(model) == ["--model", "fake", "--threads", "2", "--compile", "--no-keep-memory"]
    assert as_arguments(ClusterConfig(replicas=3)) == ["--replicas", "3"]


@pytest.mark.parametrize(
    ("version", "following"), [("1.0.0", "1.1.0"), ("2.9.4", "2.10.0"), ("1.0", "1.0.1"), ("a", "a.1")]
)
def test_the_release_with_the_pass_has_a_version_of_its_own(version, following):
    assert demo.next_version(version) == following
