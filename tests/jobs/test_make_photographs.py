"""jobs/make_photographs.py: from the list to pairs that a training takes; nothing is fetched."""

import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest

from jobs.make_photographs import main
from pipeline.embedded import photographs, teacher
from pipeline.embedded.data import Pairs
from pipeline.embedded.photographs import Photograph
from pipeline.errors import ConfigError, RunMismatchError
from tests.pipeline.make import make_jpeg

DONE, USAGE = 0, 2


@pytest.fixture
def job(monkeypatch, tmp_path, capsys):
    """Run it on three photographs of two packages, with a teacher that finds everything; gives code and JSON."""
    listed = [
        Photograph(registry="npm", package=package, version="1", path=f"{n}.jpg", sha256=str(n) * 64, licence="MIT")
        for n, package in enumerate(["one", "one", "two"], start=1)
    ]

    class All:
        def __init__(self, path, threads):
            assert (path, threads) == ("weights", 1)

        def saliency_of(self, pixels):
            return np.ones(pixels.shape[:2], np.float32)

    monkeypatch.setattr(photographs, "read_list", lambda: tuple(listed))
    monkeypatch.setattr(
        photographs,
        "_contents",
        lambda group, cache: [(photo, make_jpeg(int(photo.path[0]), 60, 40)) for photo in group],
    )
    monkeypatch.setattr(photographs, "require_clients", lambda folder, sources: None)
    monkeypatch.setattr(teacher, "Teacher", All)
    monkeypatch.setattr(teacher, "teacher_weights", lambda cache: "weights")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["make_photographs.py", "--out", str(tmp_path / "out"), *arguments])
        code = main()
        return code, capsys.readouterr().out

    return run


def test_it_leaves_pairs_and_says_what_they_are_of(job, tmp_path):
    code, said = job("--px", "32", "--threads", "1")
    assert (code, json.loads(said)["photographs"]) == (DONE, 3)
    (images, masks), *more = Pairs.open(tmp_path / "out").parts()
    assert (images.shape, masks.shape, more) == ((3, 32, 32, 3), (3, 32, 32), [])
    assert masks.min() == 255
    sources = json.loads((tmp_path / "out/recipe.json").read_text())["sources"]
    assert [(source["package"], source["used"], source["licence"]) for source in sources] == [
        ("one", 2, "MIT"), ("two", 1, "MIT"),
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [["--px", "31"], ["--threads", "0"]])
def test_nonsense_is_a_wrong_request(job, tmp_path, wrong):
    with pytest.raises(SystemExit, match=f"^{USAGE}$"):
        job(*wrong)
    assert not (tmp_path / "out").exists()


def test_a_missing_teacher_is_refused_before_anything_is_fetched(job, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"missing packages: onnxruntime; .*pip install '(\.|sod-benchmark)\[nano\]'$"
    ):
        job()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", [{"px": 224}, {"photographs": ["0" * 64]}, {"pairs": 1}])
def test_a_folder_begun_with_another_request_is_refused_before_anything_is_fetched(job, tmp_path, monkeypatch, other):
    job("--threads", "1")
    request = tmp_path / "out/request.json"
    made = json.loads(request.read_text())
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    request.write_text(json.dumps(made | other))
    with pytest.raises(RunMismatchError, match=f"{next(iter(other))}: made with"):
        job("--threads", "1")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["request.json"]
