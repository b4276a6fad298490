"""Collecting from the shell: one line of JSON, exit codes, and annotations that the main job takes as they are."""

import json
import shlex

import pytest

from jobs import coco_pseudolabel, collect
from tests.pipeline.make import make_jpeg


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my photos").mkdir()
    for number in range(3):
        (tmp_path / "my photos" / f"{number}.jpg").write_bytes(make_jpeg(number, 30, 20))
    return tmp_path / "my photos"


def test_the_command_that_is_printed_takes_the_annotations(done_here, photos):
    done = done_here(collect.main, "collect.py", "--images", "my photos", "--out", "photos.json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "annotations": f"{photos.parent}/photos.json",
        "images": 3,
        "collected": 3,
        "failed": {},
        "orientation": "upright",
    }
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    _, script, *options = shlex.split(said.removeprefix("next: ").replace("RUN", "run"))
    assert script == "jobs/coco_pseudolabel.py"
    more = ("--engine", "inline", "--model", "fake", "--dry-run")
    planned = done_here(coco_pseudolabel.main, script, *options, *more)
    assert (planned.returncode, json.loads(planned.stdout)["images"]) == (0, 3), planned.stderr


def test_an_image_that_fails_is_named_and_the_exit_code_is_3(done_here, photos):
    (photos / "3.jpg").write_bytes(b"no image")
    done = done_here(collect.main, "collect.py", "--images", "my photos", "--out", "photos.json")
    assert (done.returncode, json.loads(done.stdout)["failed"]) == (3, {"undecodable": 1})
    assert "ERROR 3.jpg failed: undecodable: " in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--images", "nowhere"), "images 'nowhere'"),
        (("--images", "simplecache::s3://b/a.zip"), "simplecache::s3://b/a.zip"),
        (("--max-image-bytes", "0"), "max_image_bytes is 0; it must be above 0"),
    ],
)
def test_a_wrong_request_exits_with_2_and_writes_nothing(done_here, photos, options, said):
    given = ("--images", "my photos", "--out", "photos.json")
    done = done_here(collect.main, "collect.py", *given, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (photos.parent / "photos.json").exists()
