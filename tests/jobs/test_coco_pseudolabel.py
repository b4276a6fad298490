"""The main job's contract with the shell: what it prints, and how it exits, for right and wrong input."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import coco_pseudolabel
from tests.pipeline.make import make_collection

ROOT = Path(__file__).resolve().parents[2]
DONE, FAILED, USAGE, TOO_MANY_FAILED = 0, 1, 2, 3


def photo(mode="RGB", file_format="JPEG", width=40, height=30):
    """The bytes of a picture of that kind."""
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(ramp).convert(mode).save(file, format=file_format)
    return file.getvalue()


def write_collection(folder, contents, **changed):
    """Images 1, 2, … of the given bytes (None: no file) and an annotation JSON; `changed` replaces entries' fields."""
    (folder / "images").mkdir()
    entries = []
    for number, content in enumerate(contents, start=1):
        name = f"{number:012d}.jpg"
        if content is not None:
            (folder / "images" / name).write_bytes(content)
        entries.append(
            {"id": number, "file_name": name, "width": 40, "height": 30} | changed.get(f"image_{number}", {})
        )
    (folder / "annotations.json").write_text(json.dumps({"images": entries}))


def command_line(*options):
    given = ("--engine", "inline", "--model", "fake", "--images", "images", "--annotations", "annotations.json")
    # Of a single image, the fake model often accepts none.
    return [*given, "--allow-empty", "--out", "out", *map(str, options)]


@pytest.fixture
def run_job(run_here, tmp_path, monkeypatch):
    """Runs the job in the folder of the test; most tests need no process of its own for that."""
    monkeypatch.chdir(tmp_path)
    return lambda *options: Done(*run_here(coco_pseudolabel.main, "coco_pseudolabel.py", *command_line(*options)))


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run_process(folder, *options):
    command = [sys.executable, str(ROOT / "jobs/coco_pseudolabel.py"), *command_line(*options)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def manifest(folder):
    rows = pq.read_table(folder / "out/release/sod-benchmark-1.0.0/manifest.parquet").to_pylist()
    return {row["image_id"]: row for row in rows}


def test_a_good_run_exits_with_0_and_prints_one_json_line_on_stdout(tmp_path):
    write_collection(tmp_path, [photo(), photo()])
    done = run_process(tmp_path)
    assert done.returncode == DONE, done.stderr
    report = json.loads(done.stdout)
    assert (report["images"], report["computed"], report["failed"]) == (2, 2, {})
    assert Path(report["release"]).is_dir()
    assert Path(report["contact_sheet"]).is_file()


def test_every_kind_of_bad_image_is_a_failed_row_with_its_reason_and_costs_nothing_else(run_job, tmp_path):
    whole = photo()
    contents = [whole, None, whole[: len(whole) // 2], whole, whole, b"no image at all", b""]
    write_collection(tmp_path, contents, image_4={"width": 41}, image_5={"file_name": "../annotations.json"})
    done = run_job("--max-failed-share", "1")
    assert done.returncode == DONE, done.stderr
    reasons = {number: row["reason"] for number, row in manifest(tmp_path).items() if row["verdict"] == "failed"}
    assert reasons == {
        2: "missing",
        3: "undecodable",
        4: "size_mismatch",
        5: "unsafe_path",
        6: "undecodable",
        7: "undecodable",
    }
    assert "40 x 30" in manifest(tmp_path)[4]["detail"]
    assert "41 x 30" in manifest(tmp_path)[4]["detail"]
    assert manifest(tmp_path)[1]["verdict"] != "failed"


@pytest.mark.parametrize(
    ("mode", "file_format"), [("RGB", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "PNG")]
)
def test_unusual_but_whole_images_are_no_failures(run_job, tmp_path, mode, file_format):
    write_collection(tmp_path, [photo(mode, file_format)])
    done = run_job()
    assert done.returncode == DONE, done.stderr
    assert manifest(tmp_path)[1]["verdict"] in ("accepted", "rejected")


def test_too_many_failed_images_exit_with_3_and_the_release_is_there(run_job, tmp_path):
    write_collection(tmp_path, [photo(), b"no image"])
    done = run_job()
    assert done.returncode == TOO_MANY_FAILED
    assert "50.0% of the images failed, 5.0% are allowed" in done.stderr
    assert len(manifest(tmp_path)) == 2


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ("no JSON", "not JSON"),
        ("[]", "a JSON object with `images` is needed"),
        ('{"images": []}', "at least one image"),
        ('{"images": [{"id": "x", "file_name": "a.jpg", "width": 1, "height": 1}]}', "images[0]"),
    ],
)
def test_annotations_that_are_none_are_refused_by_name_with_2(run_job, tmp_path, annotations, said):
    write_collection(tmp_path, [photo()])
    (tmp_path / "annotations.json").write_text(annotations)
    done = run_job()
    assert done.returncode == USAGE
    assert "annotations.json" in done.stderr
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--images", "nowhere"), "nowhere"),
        (("--annotations", "nowhere.json"), "nowhere.json"),
        (("--ensemble-size", "1"), "--ensemble-size is 1; it must be at least 2: a run accepts images by how far"),
        (("--ensemble-size", "1", "--dry-run"), "--ensemble-size is 1; it must be at least 2"),
        (("--processing-res", "7"), "processing_res is 7; it must be at least 8 px"),
        (("--reference", "--processing-res", "32"), "processing_res is 32; it must be at least 33 px"),
        (("--batch-size", "-1"), "batch_size is -1; it must be at least 0"),
        (("--alignment", "both"), "--alignment"),
        (("--max-variance", "x"), "x"),
        (("--no-such-option", "1"), "--no-such-option"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
        (("--version", "../1"), "version is '../1'"),
        (("--model", "fake:sleep=1"), "the fake model has no option 'sleep'"),
        (("--model", "/no/such/folder"), "/no/such/folder"),
    ],
)
def test_wrong_options_are_refused_by_name_with_2(run_job, tmp_path, options, said):
    write_collection(tmp_path, [photo()])
    done = run_job(*options)
    assert done.returncode == USAGE, done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())  # messages are wrapped in a box
    assert "Traceback" not in done.stderr


def test_kernels_that_the_device_lacks_are_a_wrong_request_and_say_what_to_do_then(run_job, tmp_path):
    write_collection(tmp_path, [photo()])
    done = run_job("--model", "nano", "--attention", "efficient")
    assert done.returncode == USAGE, done.stderr
    assert "--model nano: attention is 'efficient': no such kernels exist for cpu" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_job("--model", "nano")
    assert done.returncode == USAGE, done.stderr
    assert "attention: made with efficient, requested auto" in done.stderr
    assert f"Nothing is committed there: remove {tmp_path / 'out'}, or give another --out" in done.stderr


def test_a_folder_with_none_of_the_images_is_refused_before_any_work(run_job, tmp_path):
    write_collection(tmp_path, [None, None])
    done = run_job()
    assert done.returncode == USAGE
    assert "has none of the 2 images" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_made_with_another_setting_is_not_gone_on_with(run_job, tmp_path):
    write_collection(tmp_path, [photo()])
    assert run_job().returncode == DONE
    done = run_job("--ensemble-size", "3")
    assert done.returncode == USAGE
    assert "ensemble_size: made with 10, requested 3" in done.stderr


def test_another_policy_is_another_version_and_predicts_nothing(run_job, tmp_path):
    write_collection(tmp_path, [photo()])
    assert run_job().returncode == DONE
    refused = run_job("--max-variance", "0")
    assert refused.returncode == USAGE
    assert "Give another --version" in refused.stderr
    done = run_job("--max-variance", "0", "--version", "1.1.0")
    assert done.returncode == DONE
    assert json.loads(done.stdout)["computed"] == 0
    assert (tmp_path / "out/release/sod-benchmark-1.1.0/release.json").is_file()


def test_the_official_kind_of_zip_gives_the_release_of_the_folder(run_job, tmp_path):
    write_collection(tmp_path, [photo(), photo("L")])
    with zipfile.ZipFile(tmp_path / "train2017.zip", "w") as archive:
        archive.mkdir("train2017")
        for path in sorted((tmp_path / "images").iterdir()):
            archive.write(path, f"train2017/{path.name}")
    assert run_job().returncode == DONE
    done = run_job("--images", "train2017.zip", "--out", "from_zip")
    assert done.returncode == DONE, done.stderr
    files = [path for path in (tmp_path / "out/release").rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        twin = tmp_path / "from_zip/release" / path.relative_to(tmp_path / "out/release")
        assert twin.read_bytes() == path.read_bytes()


def test_options_can_come_from_a_toml_file_and_the_command_line_wins(run_job, tmp_path):
    write_collection(tmp_path, [photo()])
    (tmp_path / "run.toml").write_text('ensemble_size = 3\nname = "mine"\nversion = "2.0.0"\n')
    done = run_job("--config", "run.toml", "--version", "2.1.0")
    assert done.returncode == DONE, done.stderr
    (release,) = (tmp_path / "out/release").iterdir()
    assert release.name == "mine-2.1.0"
    assert json.loads((release / "release.json").read_text())["made_from"]["fingerprint"]["ensemble_size"] == "3"


def test_the_reference_preset_is_logged_and_kept_with_the_run_and_options_beside_it_win(tmp_path):
    write_collection(tmp_path, [photo()])
    done = run_process(tmp_path, "--reference", "--no-stretch")
    assert done.returncode == DONE, done.stderr
    assert "INFO --reference: predict as the released SOD-diffusion code does" in done.stderr
    assert "alignment = reference: members are scaled and shifted" in done.stderr
    assert "stretch = False: your own value, which overrules --reference" in done.stderr
    made_with = json.loads((tmp_path / "out/run.json").read_text())["fingerprint"]
    expected = {"alignment": "reference", "reduction": "median", "stretch": "False", "resize_filter": "bicubic"}
    assert {name: made_with[name] for name in expected} == expected
    refused = run_process(tmp_path, "--no-stretch")
    assert refused.returncode == USAGE
    assert "alignment: made with reference, requested none" in refused.stderr


def test_a_dry_run_tells_people_and_programs_and_writes_nothing(tmp_path):
    inputs = make_collection(tmp_path / "in", 5)
    arguments = ["--images", inputs.images, "--annotations", inputs.annotations, "--out", tmp_path / "out"]
    arguments += ["--model", "fake", "--engine", "inline", "--dry-run"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs/coco_pseudolabel.py"), *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "nothing was written" in done.stderr
    assert "hours of one replica" in done.stderr
    found = json.loads(done.stdout)
    assert (found["images"], found["left"], found["pilot_images"]) == (5, 5, 5)
    assert len(found["fingerprint"]["plan"]) == 64
    assert not (tmp_path / "out").exists()
