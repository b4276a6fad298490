"""Predicting photos from the shell: exit codes, one JSON line, messages that name file and reason."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.command_line import run_job
from jobs.predict import main
from model.config import EMBEDDED_MODEL
from model.saliency import load_diffusion_model
from pipeline.files import local_disk
from pipeline.photos import predict as photos_predict
from tests.pipeline.photos.make import encoded, files_below, load_quickly, make_pixels, names_below, write_photos

ROOT = Path(__file__).resolve().parents[2]
DONE, FAILED, USAGE, SOME_FAILED = 0, 1, 2, 3
QUICK = ("--ensemble-size", "2", "--denoise-steps", "1", "--processing-res", "64", "--device", "cpu")
COUNTS = ("photos", "predicted", "skipped", "failed")


class Ended:
    """The outcome of a job: its exit code and output."""

    def __init__(self, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def counts(self):
        """Photos, predicted, skipped and failed, from the one JSON line."""
        assert self.stdout.endswith("\n")
        (line,) = self.stdout.splitlines()
        report = json.loads(line)
        assert report.keys() == {*COUNTS, "output_dir", "images_per_s"}
        assert report["photos"] == report["predicted"] + report["skipped"] + report["failed"]
        return tuple(report[name] for name in COUNTS)


@pytest.fixture
def predict_here(tmp_path, monkeypatch, capsys, caplog):
    """Run the job in this process, in `tmp_path`, with the embedded model loaded once for all tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photos_predict, "load_diffusion_model", load_quickly)

    def run(*arguments, photos="photos", out="out"):
        command = ["predict.py", "--input-rgb-path", photos, "--output-dir", out, *QUICK, *arguments]
        monkeypatch.setattr(sys, "argv", command)
        caplog.clear()
        with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as ended:
            run_job(main)
        shown = capsys.readouterr()
        return Ended(ended.value.code, shown.out, "\n".join([*caplog.messages, shown.err]))

    return run


def command(*arguments):
    return [sys.executable, str(ROOT / "jobs" / "predict.py"), *QUICK, *arguments]


def predict_apart(folder, *arguments):
    """Run the job as users do, in its own process."""
    named = ("--input_rgb_path", "photos", "--output_dir", "out")
    done = subprocess.run(command(*named, *arguments), cwd=folder, capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


# In a process of its own


def test_a_job_with_a_bad_photo_exits_with_3_names_it_and_does_the_others(tmp_path):
    write_photos(tmp_path / "photos", "a.png", "c.png")
    (tmp_path / "photos" / "b.jpg").write_bytes(b"no image")
    done = predict_apart(tmp_path)
    assert done.code == SOME_FAILED, done.stderr
    assert done.counts == (3, 2, 0, 1)
    assert "ERROR photos/b.jpg failed: undecodable: b.jpg: UnidentifiedImageError" in done.stderr
    assert "next: look at the maps" in done.stderr
    assert "8 bytes that begin with b'no image'" in done.stderr
    assert "Traceback" not in done.stderr
    assert names_below(tmp_path / "out") == ["a.png", "c.png"]


@pytest.mark.thorough  # photos/test_predict.py resumes in this process
def test_after_a_kill_the_same_command_resumes_exits_with_0_and_makes_nothing_twice(tmp_path):
    write_photos(tmp_path / "photos", *(f"{number}.png" for number in range(4)))
    slow = ("--denoise-steps", "60", "--batch-size", "2", "--input_rgb_path", "photos", "--output_dir", "out")
    process = subprocess.Popen(command(*slow), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 150  # on a busy machine, starting alone took more than 80
    while not (tmp_path / "out" / "0.png").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {name: file for name, file in files_below(tmp_path / "out").items() if not name.startswith(".")}
    assert 1 <= len(before) < 4
    done = predict_apart(tmp_path)
    assert done.code == DONE, done.stderr
    assert done.counts == (4, 4 - len(before), len(before), 0)
    after = files_below(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert [name for name in after if not name.startswith(".")] == [f"{number}.png" for number in range(4)]


# Good requests


@pytest.mark.parametrize(
    ("photos", "masks"),
    [
        ("photos", ["a.png", "b.png"]),
        ("photos/a.jpg", ["a.png"]),
        ("photos/*.jpg", ["a.png", "b.png"]),
        ("**/*.jpg", ["photos/a.png", "photos/b.png", "photos/inner/c.png"]),
        ("photos/inner", ["c.png"]),
    ],
)
def test_photos_are_named_by_file_folder_or_pattern(predict_here, tmp_path, photos, masks):
    write_photos(tmp_path / "photos", "a.jpg", "b.jpg", "inner/c.jpg")
    done = predict_here(photos=photos)
    assert done.code == DONE, done.stderr
    assert done.counts == (len(masks), len(masks), 0, 0)
    assert names_below(tmp_path / "out") == masks


def test_every_option_of_the_preset_is_logged_with_its_effect_and_explicit_ones_as_such(predict_here, tmp_path):
    write_photos(tmp_path / "photos", "a.png")
    done = predict_here("--reference", "--alignment", "none", "--no-stretch")
    assert done.code == DONE, done.stderr
    assert done.counts == (1, 1, 0, 0)
    said = done.stderr.splitlines()
    assert "--reference: predict as the released SOD-diffusion code does, except for stochastic depth" in said
    assert "  alignment = none: your own value, which overrules --reference" in said
    assert "  stretch = False: your own value, which overrules --reference" in said
    assert "  reduction = median: the map is the lower median of the members, not their mean" in said
    assert any(line.startswith("  batch_stats = True: the conditioner's batch norm uses") for line in said)
    assert "  resize_filter = bicubic: maps are resized to the image's size bicubically" in said


def test_nothing_is_said_of_the_preset_without_it(predict_here, tmp_path):
    write_photos(tmp_path / "photos", "a.png")
    assert "--reference" not in predict_here().stderr


def test_the_preset_changes_every_map(predict_here, tmp_path):
    write_photos(tmp_path / "photos", "a.png")
    options = ("--output-processing-res", "--save-uncertainty", "--ensemble-size", "3")
    assert predict_here(*options, "--reference", out="reference").code == DONE
    assert predict_here(*options, out="plain").code == DONE
    reference, plain = (files_below(tmp_path / out) for out in ("reference", "plain"))
    assert reference.keys() == plain.keys()
    assert all(reference[name][0] != plain[name][0] for name in plain)


def test_a_second_run_skips_everything_and_overwrite_makes_it_again(predict_here, tmp_path):
    write_photos(tmp_path / "photos", "a.png", "b.png")
    assert predict_here().counts == (2, 2, 0, 0)
    before = files_below(tmp_path / "out")
    again = predict_here()
    assert (again.code, again.counts) == (DONE, (2, 0, 2, 0))
    assert files_below(tmp_path / "out") == before
    assert predict_here("--overwrite").counts == (2, 2, 0, 0)
    assert all(after != before[name] for name, after in files_below(tmp_path / "out").items())


# Wrong requests, refused before any model is loaded


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--input-rgb-path", "nowhere"), "--input-rgb-path nowhere: no such file or folder"),
        (("--input-rgb-path", "*.gif"), "--input-rgb-path *.gif: no file matches this pattern"),
        (("--input-rgb-path", "empty"), "empty holds 0 files"),
        (("--output-dir", "in_the_way"), "--output-dir in_the_way: nothing can be written there"),
        (("--output-dir", "in_the_way/out"), "--output-dir in_the_way/out: nothing can be written there"),
        (("--model", "fake"), "--model fake: the stand-in paints discs"),
        (("--pretrained_model_path", "unet"), "--pretrained-model-path is given without --stable-diffusion-repo-path"),
        (
            ("--swinb_model_path", "swinb.pth", "--stable_diffusion_repo_path", "sd2"),
            "--stable-diffusion-repo-path is given without --pretrained-model-path; official weights need all",
        ),
        (("--save-uncertainty", "--ensemble-size", "1"), "--save-uncertainty needs an --ensemble-size of at least 2"),
        (("--ensemble-size", "0"), "ensemble_size is 0; it must be at least 1"),
        (("--processing-res", "7"), "processing_res is 7; it must be at least 8 px"),
        (("--reference", "--processing-res", "32"), "processing_res is 32; it must be at least 33 px"),
        (("--batch-size", "-1"), "batch_size is -1; it must be at least 0"),
        (("--seed", "x"), "--seed"),
        (("--alignment", "both"), "--alignment"),
        (("--no-such-option", "1"), "--no-such-option"),
    ],
)
def test_a_wrong_request_exits_with_2_and_is_named_before_a_model_is_loaded(
    predict_here, tmp_path, monkeypatch, options, said
):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delattr(photos_predict, "load_diffusion_model")
    write_photos(tmp_path / "photos", "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "in_the_way").touch()
    done = predict_here(*options)
    assert (done.code, done.stdout) == (USAGE, "")
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_missing_required_options_are_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["predict.py"])
    with pytest.raises(SystemExit) as ended:
        run_job(main)
    assert ended.value.code == USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--input-rgb-path" in shown.err
    assert "--output-dir" in shown.err


# Wrong weights


def a_file(folder):
    folder.write_bytes(b"weights")


def an_empty_folder(folder):
    folder.mkdir()


def a_saved_model(folder):
    folder.mkdir()
    for part in EMBEDDED_MODEL.iterdir():
        (folder / part.name).symlink_to(part)


def another_pipeline(folder):
    a_saved_model(folder)
    (folder / "conditioner").unlink()
    (folder / "text_encoder").mkdir()


def a_torn_index(folder):
    a_saved_model(folder)
    (folder / "model_index.json").unlink()
    (folder / "model_index.json").write_text("{")


def torn_weights(folder):
    a_saved_model(folder)
    (folder / "vae").unlink()
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").symlink_to(EMBEDDED_MODEL / "vae" / "config.json")
    weights = (EMBEDDED_MODEL / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(weights[:-1000])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (a_file, "--model mine: it has no model_index.json"),
        (an_empty_folder, "--model mine: it has no model_index.json"),
        (another_pipeline, "mine holds no conditioner/config.json, so it is not a saved SOD-diffusion pipeline"),
        (a_torn_index, "mine/model_index.json: not JSON: "),
        (torn_weights, "mine/vae/diffusion_pytorch_model.safetensors"),
    ],
)
def test_a_folder_that_is_not_a_model_exits_with_2_and_its_name(predict_here, tmp_path, monkeypatch, make, said):
    monkeypatch.setattr(photos_predict, "load_diffusion_model", load_diffusion_model)
    write_photos(tmp_path / "photos", "a.png")
    make(tmp_path / "mine")
    done = predict_here("--model", "mine")
    assert (done.code, done.stdout) == (USAGE, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_a_saved_model_works_like_the_embedded_one(predict_here, tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", "a.png")
    a_saved_model(tmp_path / "mine")
    predict_here(out="embedded")
    monkeypatch.setattr(photos_predict, "load_diffusion_model", load_diffusion_model)
    done = predict_here("--model", "mine", out="own")
    assert done.code == DONE, done.stderr
    assert (tmp_path / "own" / "a.png").read_bytes() == (tmp_path / "embedded" / "a.png").read_bytes()


def test_an_unknown_device_exits_with_2_and_its_name(predict_here, tmp_path):
    write_photos(tmp_path / "photos", "a.png")
    done = predict_here("--device", "nonsense")
    assert (done.code, done.stdout) == (USAGE, "")
    assert "error: --device nonsense: there is no such device; give auto, cpu" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_official_files_exit_with_2_and_a_name(predict_here, tmp_path):
    write_photos(tmp_path / "photos", "a.png")
    paths = ("--pretrained_model_path=unet", "--stable_diffusion_repo_path=sd2", "--swinb_model_path=swinb.pth")
    done = predict_here(*paths)
    assert (done.code, done.stdout) == (USAGE, "")
    assert any(name in done.stderr for name in ("unet", "sd2", "swinb.pth"))
    assert "Traceback" not in done.stderr


# Failures on the way


@pytest.mark.parametrize("bad", ["first.png", "middle.png", "zzz.png"])
def test_a_bad_photo_at_any_place_exits_with_3_and_only_it_is_tried_again(predict_here, tmp_path, bad):
    write_photos(tmp_path / "photos", "a.png", "k.png", "z.png")
    (tmp_path / "photos" / bad).write_bytes(encoded(make_pixels())[:200])
    done = predict_here("--batch-size", "4")
    assert (done.code, done.counts) == (SOME_FAILED, (4, 3, 0, 1))
    assert f"photos/{bad} failed: undecodable: {bad}" in done.stderr
    again = predict_here("--batch-size", "4")
    assert (again.code, again.counts) == (SOME_FAILED, (4, 0, 3, 1))


def test_no_usable_photo_at_all_exits_with_3_too(predict_here, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    done = predict_here()
    assert (done.code, done.counts) == (SOME_FAILED, (1, 0, 0, 1))
    assert "look at the maps" not in done.stderr, "there is none"


def test_a_full_disk_exits_with_1_and_is_named_and_finished_outputs_stay(predict_here, tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", "a.png", "b.png")
    write_synced = local_disk.write_synced

    def fill_up(path, content):
        if "b.png" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_synced(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(local_disk, "write_synced", fill_up)
        done = predict_here()
    assert (done.code, done.stdout) == (FAILED, "")
    assert "b.png: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert names_below(tmp_path / "out") == ["a.png"]
    assert predict_here().counts == (2, 1, 1, 0)


def test_an_interruption_exits_with_1_and_says_how_to_resume(predict_here, tmp_path, monkeypatch):
    write_photos(tmp_path / "photos", "a.png")

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(photos_predict, "write_outputs", interrupt)
        done = predict_here()
    assert (done.code, done.stdout) == (FAILED, "")
    assert "Run the same command again to resume" in done.stderr
