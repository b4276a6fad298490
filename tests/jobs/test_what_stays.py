"""What stays of the work is said where something stays, and nowhere else."""

import errno
import os

import pytest

from jobs import coco_pseudolabel, verify_release
from jobs.command_line import FAILED
from pipeline.errors import RESUME, kept
from pipeline.files import storage
from tests.pipeline.make import make_collection


def full(*_arguments, **_options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(*_arguments, **_options):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "words", "says"),
    [
        (full, "3 maps stay", f"failed: [Errno 28] No space left on device. 3 maps stay. {RESUME}\n"),
        (full, "", "failed: [Errno 28] No space left on device. Once that is mended, run the same command again\n"),
        (interrupt, "3 maps stay", f"interrupted. 3 maps stay. {RESUME}\n"),
        (interrupt, "", "interrupted. Run the same command again\n"),
    ],
)
def test_a_job_says_what_its_work_has_noted(run_here, error, words, says):
    def main():
        with kept(lambda: words):
            error()

    assert run_here(main) == (FAILED, "", says)


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_other_errors_are_left_alone(error):
    with pytest.raises(error) as raised, kept(lambda: "something stays"):
        raise error
    assert not hasattr(raised.value, "__notes__")


def label(run_here, tmp_path, inputs):
    return run_here(
        coco_pseudolabel.main, "job", "--images", str(inputs.images), "--annotations", str(inputs.annotations),
        "--out", str(tmp_path / "run"), "--engine", "inline", "--model", "fake", "--shard-size", "2",
        "--ensemble-size", "2",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shards", "stays"),
    [
        (1, f". 2 of 4 images are committed and stay. {RESUME}"),
        (0, ". Once that is mended, run the same command again"),
    ],
)
def test_a_run_counts_what_is_committed_when_the_disk_is_full(run_here, tmp_path, monkeypatch, shards, stays):
    inputs, create, commits = make_collection(tmp_path / "in", 4), storage.create, []

    def create_until_full(url, content):
        commits.extend([url] if "/commits/" in url else [])
        return full() if len(commits) > shards else create(url, content)

    monkeypatch.setattr(storage, "create", create_until_full)
    code, out, err = label(run_here, tmp_path, inputs)
    assert (code, out) == (FAILED, "")
    assert err.endswith(f"failed: [Errno 28] No space left on device{stays}\n")


def test_a_check_has_nothing_to_resume(run_here, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.release.check.verify.verify_release", interrupt)
    said = f"checking {tmp_path}\ninterrupted. Run the same command again\n"
    assert run_here(verify_release.main, "job", str(tmp_path)) == (FAILED, "", said)
