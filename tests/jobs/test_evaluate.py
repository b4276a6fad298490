"""The evaluation's contract with the shell: what it prints and leaves, and how it exits, for right and wrong input."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.evaluate import main
from jobs.publish_release import main as publish
from model.config import REFERENCE_PRESET
from model.seeds import key_of
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.datasets import DATASETS
from pipeline.evaluation.frozen import Deviation
from pipeline.evaluation.job import evaluate
from pipeline.evaluation.tasks import find_tasks
from pipeline.extras import extra_command
from pipeline.options import from_options
from pipeline.run import run
from tests.pipeline.evaluation.make import make_folders, saliency, save
from tests.pipeline.make import make_collection, make_config, tree

pytestmark = pytest.mark.usefixtures("plain_figures")

ROOT = Path(__file__).resolve().parents[2]
DONE, FAILED, USAGE, SOME_FAILED = 0, 1, 2, 3
MAPS = ("--predictions", "maps", "--masks", "masks")
PHOTOS = ("--images", "photos", "--masks", "masks", "--shard-size", "2", "--ensemble-size", "3")


def run_job(folder, *options):
    command = [sys.executable, str(ROOT / "jobs/evaluate.py"), "--engine", "inline", "--out", "out", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def run_again(tmp_path, done_here, monkeypatch):
    """The same in this process, which has imported already what the job imports for seconds."""
    monkeypatch.chdir(tmp_path)
    return lambda *options: done_here(main, "evaluate.py", "--engine", "inline", "--out", "out", *options)


def evaluated_here(folder):
    """The content of `evaluation.json` that the photos have in this process."""
    given = {"images": str(folder / "photos"), "masks": str(folder / "masks"), "out": str(folder / "here")}
    given |= {"model": "fake", "shard_size": 2, "ensemble_size": 3, "engine": "inline"}
    config = from_options(EvaluationConfig, given, missing=None)
    (document,) = evaluate(find_tasks(config), config)
    return json.loads(json.dumps(document))


def test_maps_in_a_folder_give_one_line_of_json_and_a_table_on_stderr(tmp_path):
    make_folders(tmp_path, 3)
    done = run_job(tmp_path, *MAPS)
    assert done.returncode == DONE, done.stderr
    (line,) = done.stdout.splitlines()
    (result,) = json.loads(line)["results"]
    assert result["counts"]["measured"] == 3
    assert f"| maps on masks | 3 | {result['metrics']['mae']:.4f} |" in done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.json", "evaluation.md", "images.parquet", "curves.png"}


def test_a_broken_file_is_named_and_exits_with_3(tmp_path, run_again):
    make_folders(tmp_path, 3)
    (tmp_path / "maps/im002.png").write_bytes(b"no image")
    done = run_again(*MAPS)
    assert done.returncode == SOME_FAILED, done.stderr
    assert "im002 failed: undecodable: maps/im002.png" in done.stderr
    assert (
        json.loads(done.stdout)["results"][0]["counts"] | {"failed": 1, "measured": 2}
        == json.loads(done.stdout)["results"][0]["counts"]
    )


def test_one_member_is_enough_to_measure_maps(tmp_path, run_here, monkeypatch, caplog):
    caplog.set_level("INFO")
    make_folders(tmp_path, 3)
    monkeypatch.chdir(tmp_path)
    options = (*PHOTOS[:-1], "1", "--model", "fake", "--engine", "inline", "--out", "out")
    code, stdout, stderr = run_here(main, "evaluate.py", *options)
    assert code == DONE, stderr
    assert json.loads(stdout)["results"][0]["counts"]["measured"] == 3
    assert "one ensemble member has no variance, so there are no scores, no risk-coverage and no release" in caplog.text
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.json", "evaluation.md", "images.json", "images.parquet", "curves.png", "run"}
    assert not any("variance" in name for name in pq.read_schema(tmp_path / "out/images.parquet").names)
    assert "nan" not in (tmp_path / "out/evaluation.json").read_text().lower()
    assert "single ensemble member" in (tmp_path / "out/evaluation.md").read_text()


def test_a_killed_run_of_a_model_goes_on_to_the_same_bytes(tmp_path, run_again):
    make_folders(tmp_path, 5)
    ordered = sorted(key_of(f"im{number:03d}") for number in range(1, 6))
    killed = run_job(tmp_path, *PHOTOS, "--model", f"fake:die_at={ordered[2]}")
    assert killed.returncode == 17
    assert not (tmp_path / "out/evaluation.json").exists()
    done = run_again(*PHOTOS, "--model", "fake")
    assert done.returncode == DONE, done.stderr
    assert "resuming: 2 of 5 images were computed" in done.stderr
    assert (tmp_path / "out/risk_coverage.png").is_file()
    (result,) = json.loads(done.stdout)["results"]
    undisturbed = evaluated_here(tmp_path)
    assert result == {name: undisturbed[name] for name in ("name", "counts", "metrics")}
    stored = json.loads((tmp_path / "out/evaluation.json").read_bytes())
    assert stored | {"settings": undisturbed["settings"]} == undisturbed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--masks", "masks"), "give --predictions, or --images"),
        ((*MAPS, "--images", "photos"), "give --predictions (existing maps) or --images"),
        ((*MAPS, "--out", "maps/im001.png"), "maps/im001.png: nothing can be written there"),
        ((*MAPS, "--dataset", "DUTS"), "DUTS-TE"),
        (("--predictions", "maps", "--masks", "nowhere"), "nowhere: this folder does not exist"),
        (("--predictions", "photos", "--masks", "more"), "more/im004.png has none"),
        (("--dataset", "ECSSD", "--root", "."), "ECSSD is not in ."),
        (("--dataset", "MSRA10K", "--root", "."), "MSRA10K"),
        ((*MAPS, "--count", "4"), "there must be 4"),
        ((*MAPS, "--ensemble-size", "3"), "leave out the options of model and ensemble"),
        ((*MAPS, "--reference"), "--reference is for a model, and --predictions are existing maps"),
        ((*PHOTOS, "--model", "/no/such/folder"), "/no/such/folder"),
        ((*PHOTOS, "--processing-res", "7"), "processing_res is 7; it must be at least 8 px"),
        ((*PHOTOS, "--reference", "--processing-res", "32"), "processing_res is 32; it must be at least 33 px"),
        ((*PHOTOS, "--model", "fake:no_such=1"), "no option 'no_such'"),
        ((*MAPS, "--fit-combination", "p.toml"), "--fit-combination needs a model"),
        (
            (*PHOTOS, "--fit-combination", "p.toml", "--combine", "area", "no_such"),
            "--combine no_such: there is no such",
        ),
        ((*PHOTOS, "--fit-combination", "p.toml"), "--combine flip_iou: there is no such score"),
        ((*PHOTOS, "--fit-combination", "p.toml", "--combine", "area", "area"), "give one score or more, each once"),
        ((*PHOTOS, "--fit-combination", "p.toml", "--bad-below", "0"), "--bad-below is 0.0; it must be above 0"),
        ((*PHOTOS, "--fit-combination", "maps/im001.png", "--combine", "area"), "maps/im001.png: this file exists"),
    ],
)
def test_wrong_requests_are_refused_by_name_with_2(tmp_path, run_here, monkeypatch, options, said):
    make_folders(tmp_path, 3)
    make_folders(tmp_path / "four", 4)
    (tmp_path / "more").symlink_to(tmp_path / "four/masks")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = run_here(main, "evaluate.py", "--engine", "inline", "--out", "out", *options)
    assert code == USAGE, stderr
    assert said in " ".join(stderr.replace("│", " ").split())  # messages are wrapped in a box
    assert stdout == ""
    assert sorted(tmp_path.rglob("*")) == before, "nothing was begun"


def test_a_combination_is_fitted_and_its_policy_makes_a_release(tmp_path, run_here, monkeypatch):
    make_folders(tmp_path, 16)
    monkeypatch.chdir(tmp_path)
    options = ("--images", "photos", "--masks", "masks", "--model", "fake", "--engine", "inline", "--out", "out")
    fit = ("--fit-combination", "policy.toml", "--combine", "area", "pairwise_iou", "--bad-below", "0.4")
    code, stdout, stderr = run_here(main, "evaluate.py", *options, *fit)
    assert code == DONE, stderr
    (fitted,) = [json.loads((tmp_path / "out/evaluation.json").read_bytes())["combination"]]
    assert (fitted["images"], fitted["method"]) == (16, "logistic")
    assert "## The combination" in (tmp_path / "out/evaluation.md").read_text()
    policy = tomllib.loads((tmp_path / "policy.toml").read_text())
    assert policy == {"combination": fitted["combination"]}
    release = ("build", "out/run", "--policy", "policy.toml", "--version", "1.1.0", "--engine", "inline")
    code, stdout, stderr = run_here(publish, "publish_release.py", *release)
    assert code == DONE, stderr
    rows = pq.read_table(Path(json.loads(stdout)["release"]) / "manifest.parquet").to_pylist()
    assert all(0 < row["combination"] < 1 for row in rows)
    before = (tmp_path / "policy.toml").read_bytes()
    code, _, stderr = run_here(main, "evaluate.py", *options, *fit)
    assert code == USAGE
    assert "--fit-combination policy.toml: this file exists; a fit never replaces one" in " ".join(stderr.split())
    assert (tmp_path / "policy.toml").read_bytes() == before


def test_two_models_are_measured_on_a_release_and_compared(tmp_path, run_here, monkeypatch):
    inputs = make_collection(tmp_path / "in", 6)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    release = Path(run(make_config(inputs, tmp_path / "run")).release)
    monkeypatch.chdir(tmp_path)
    for number in (2, 4, 6):
        save(tmp_path / "maps" / f"{number}.png", saliency(number))
    options = ("--release", str(release), "--engine", "inline")
    before = tree(release)
    for maps in (("--predictions", "maps"), ("--model", "fake")):
        code, stdout, stderr = run_here(main, "evaluate.py", *options, *maps, "--out", str(release / "found"))
        assert (code, stdout) == (USAGE, "")
        assert f"--out {release}/found is inside the release" in stderr
    assert tree(release) == before
    code, stdout, stderr = run_here(main, "evaluate.py", *options, "--predictions", "maps", "--out", "one")
    assert code == DONE, stderr
    (result,) = json.loads(stdout)["results"]
    assert (result["counts"]["measured"], result["counts"]["worst"]) == (3, 0)
    (tmp_path / "maps/4.png").unlink()
    code, stdout, stderr = run_here(main, "evaluate.py", *options, "--predictions", "maps", "--out", "two")
    assert code == SOME_FAILED, stderr
    assert "1 without a usable prediction count as the worst" in (tmp_path / "two/evaluation.md").read_text()
    code, stdout, stderr = run_here(main, "evaluate.py", "--compare", "one", "two", "--out", "compared")
    assert code == DONE, stderr
    found = json.loads(stdout)
    assert found["differ_most"][0]["name"] == f"{4:012d}"
    assert found["figures"]["mae"]["difference"] > 0
    assert "| MAE ↓ |" in stderr
    assert {path.name for path in (tmp_path / "compared").iterdir()} == {"comparison.json", "comparison.md"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--compare", "one"), "give the folders of two evaluations"),
        (("--compare", "one", "two", "--masks", "m", "--predictions", "p"), "leave out what is to be measured"),
        (("--compare", "one", "two"), "--compare one: there is no evaluation.json"),
        (("--release", "r", "--predictions", "p", "--out", "out"), "r does not exist: give the folder or URL"),
        (("--predictions", "maps", "--masks", "masks"), "give --out"),
    ],
)
def test_wrong_requests_of_a_release_or_a_comparison_are_refused(tmp_path, run_here, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = run_here(main, "evaluate.py", *options)
    assert (code, stdout) == (USAGE, "")
    assert said in " ".join(stderr.split())


def test_the_papers_setting_is_one_command_that_prints_published_figures_too(tmp_path, run_here, monkeypatch):
    command = ["make", "-o", ".venv/.installed", "-n", "reproduce", f"ROOT={tmp_path}/data", "MODEL=fake"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options = shlex.split(printed.partition("jobs/evaluate.py")[2].replace("\\\n", ""))
    for name, dataset in DATASETS.items():
        monkeypatch.setitem(DATASETS, name, replace(dataset, count=1))
        save(tmp_path / "data" / name / dataset.images[0] / "1.jpg", saliency(1))
        save(tmp_path / "data" / name / dataset.masks[0] / "1.png", saliency(1) > 99)
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = run_here(main, "evaluate.py", *options, "--engine", "inline", "--ensemble-size", "2")
    assert code == DONE, stderr
    results = json.loads(stdout)["results"]
    assert [result["name"] for result in results] == ["DUTS-TE", "DUT-OMRON", "HKU-IS", "ECSSD", "PASCAL-S"]
    made_with = json.loads((tmp_path / "out/reproduced/ECSSD/evaluation.json").read_bytes())["made_with"]
    assert made_with["alignment"] == REFERENCE_PRESET["alignment"].value
    for result in results:
        assert f"| {result['name']} | ours | {result['metrics']['mae']:.4f} |" in stderr
        assert {"ours", "published", "difference"} == result["published"]["models"][0]["figures"]["mae"].keys()


def test_the_papers_setting_asks_for_datasets_and_weights():
    done = subprocess.run(
        ["make", "-o", ".venv/.installed", "reproduce", "ROOT=/data", "MODEL="],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == USAGE
    assert "make reproduce ROOT=/data/sod MODEL=/data/official" in done.stdout


def test_the_scorer_is_checked_with_its_frozen_set(run_here, monkeypatch):
    code, stdout, stderr = run_here(main, "evaluate.py", "--check-scorer")
    assert code == DONE
    assert json.loads(stdout)["off"] == 0
    assert "the scorer gives the figures that it has always given" in stderr
    broken = [Deviation(pair="disc 1", figure="mae", expected=0.1, found=0.2)]
    monkeypatch.setattr("pipeline.evaluation.frozen.deviations", lambda: broken)
    code, stdout, stderr = run_here(main, "evaluate.py", "--check-scorer")
    assert code == FAILED
    assert "disc 1: mae is 0.200000000, it was 0.100000000" in stderr
    assert json.loads(stdout)["off"] == 1


def test_missing_packages_are_refused_with_the_command_that_installs_them(tmp_path, run_here, monkeypatch):
    make_folders(tmp_path, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, stderr = run_here(main, "evaluate.py", *MAPS, "--out", "out")
    assert code == USAGE
    assert f"missing packages: py_sod_metrics, cv2, matplotlib; {extra_command('eval')}" in stderr
    assert not (tmp_path / "out").exists()


def test_maps_of_which_none_can_be_measured_are_a_failure_of_the_work_and_no_wrong_request(
    tmp_path, run_here, monkeypatch
):
    make_folders(tmp_path, 2)
    for path in (tmp_path / "maps").iterdir():
        path.write_bytes(b"not an image")
    monkeypatch.chdir(tmp_path)
    code, _, stderr = run_here(main, "evaluate.py", "--engine", "inline", *MAPS, "--out", "out")
    assert code == FAILED
    assert "none of the 2 images could be measured" in stderr
