"""The jobs on photos without annotations: the shortest command, its release without the photos, and its check."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import coco_pseudolabel, collect, publish_release, verify_release
from tests.pipeline.make import make_jpeg, tree


@pytest.fixture
def job(run_here, tmp_path, monkeypatch):
    """Runs jobs in a folder with photos and a table of their licences."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    rows = ["name,license,author"]
    for number in range(6):
        (tmp_path / f"photos/{number}.jpg").write_bytes(make_jpeg(number, 30, 20))
        rows.append(f"{number}.jpg,{'CC BY 4.0' if number % 2 else '© Ann'},Ann")
    (tmp_path / "told.csv").write_text("\n".join(rows))
    return run_here


def run_photos(job, *options):
    given = ("--images", "photos/", "--out", "out", "--engine", "inline", "--model", "fake", *options)
    return job(coco_pseudolabel.main, "coco_pseudolabel.py", *given)


def licenses_of(version):
    rows = pq.read_table(f"out/release/sod-benchmark-{version}/manifest.parquet").to_pylist()
    return {row["license_name"] for row in rows if row["verdict"] == "accepted"}


def test_two_options_make_a_release_of_photos(job):
    code, stdout, _ = run_photos(job)
    assert (code, json.loads(stdout)["images"]) == (0, 6)
    release = json.loads(stdout)["release"]
    assert job(verify_release.main, "verify_release.py", release, "--no-loaders", "--run", "out")[0] == 0


@pytest.mark.parametrize("out", ["photos", "photos/run", "out/../photos/run"])
def test_a_run_inside_the_folder_of_its_photos_is_refused_before_it_draws_pictures_there(job, out):
    for more in ((), ("--dry-run",)):
        code, stdout, stderr = run_photos(job, "--out", out, *more)
        assert (code, stdout) == (2, "")
        assert "the folder of the images photos/" in stderr
    assert sorted(path.name for path in Path("photos").iterdir()) == [f"{number}.jpg" for number in range(6)]


def test_a_run_around_the_folder_of_its_photos_resumes(job):
    for _ in range(2):
        code, stdout, stderr = run_photos(job, "--out", ".")
        assert (code, json.loads(stdout)["images"]) == (0, 6), stderr


@pytest.mark.parametrize(
    ("mine", "named"),
    [
        (("contact_sheet.png", "notes.txt"), "contact_sheet.png"),
        (("live/index.html", "device.json"), "device.json, live"),
        (("candidates/000000.tar", "commits/readme.txt"), "candidates, commits"),
        (("run.json",), "run.json"),
    ],
)
def test_a_folder_with_files_that_a_run_would_replace_is_refused_and_stays(job, mine, named):
    for name in mine:
        Path("out", name).parent.mkdir(parents=True, exist_ok=True)
        Path("out", name).write_text("mine")
    before = tree("out")
    for more in ((), ("--dry-run",)):
        code, stdout, stderr = run_photos(job, *more)
        assert (code, stdout) == (2, "")
        assert f"out exists, and holds files that are of no run ({named}); give another --out" in stderr
        assert tree("out") == before


def test_a_folder_with_other_files_or_of_a_session_killed_early_gets_its_run(job):
    for name in ("notes.txt", "plan/mine.txt", "lease/000001.json.1.tmp"):
        Path("out", name).parent.mkdir(parents=True, exist_ok=True)
        Path("out", name).write_text("mine")
    for _ in range(2):
        code, _, stderr = run_photos(job)
        assert code == 0, stderr
    assert Path("out/notes.txt").read_text() == "mine"
    Path("out/run.json").unlink()  # of a run that is lost, the rest proves what it held
    code, _, stderr = run_photos(job)
    assert code == 0, stderr


def test_a_run_among_photos_is_not_taken_for_photos(job):
    code, _, stderr = run_photos(job)
    assert code == 0, stderr
    shutil.move("out", "photos/old")
    listed = job(collect.main, "collect.py", "--images", "photos", "--out", "photos.json")
    for code, stdout, stderr in (run_photos(job), listed):
        assert (code, stdout) == (2, "")
        assert "it holds the run old, whose pictures would be taken for images; move the run elsewhere" in stderr
    assert not Path("photos.json").exists()


def test_another_policy_uses_the_table_that_the_run_had(job):
    run_photos(job, "--metadata", "told.csv", "--max-variance", "0.25", "--max-variance-per-area", "9")
    build = ("build", "out", "--engine", "inline", "--max-variance", "0.25", "--max-variance-per-area", "9")
    for version, options, found in (
        ("2.0.0", ("--commercial",), {"Attribution License 4.0"}),
        ("3.0.0", ("--allowed-licenses", "4", "--no-embed-images"), {"Attribution License 4.0"}),
        ("4.0.0", ("--no-embed-images",), {"Attribution License 4.0", "© Ann"}),
    ):
        code, _, stderr = job(publish_release.main, "publish_release.py", *build, "--version", version, *options)
        assert (code, licenses_of(version)) == (0, found), stderr


def test_a_release_of_photos_needs_them_even_for_masks_alone_and_says_so(job, tmp_path):
    run_photos(job)
    shutil.move(tmp_path / "photos", tmp_path / "away")
    build = ("build", "out", "--engine", "inline", "--version", "2.0.0", "--no-embed-images")
    code, _, stderr = job(publish_release.main, "publish_release.py", *build)
    assert code == 2
    assert f"images '{tmp_path}/photos'" in stderr
    assert job(publish_release.main, "publish_release.py", *build, "--images", "away")[0] == 0


def test_a_dry_run_of_photos_that_can_not_be_read_is_refused(job, tmp_path):
    for photo in (tmp_path / "photos").iterdir():
        photo.write_text("moved")
    code, _, stderr = run_photos(job, "--dry-run")
    assert code == 2
    assert "none of the 6 images in a form that can be read. The first, undecodable: " in stderr
