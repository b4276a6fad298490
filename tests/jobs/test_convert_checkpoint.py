"""The conversion as a command: the official branch at its full size beside a small UNet and VAE, and wrong requests.

The official files have the formula's weights, so the converted branch must give the reference's own features.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from jobs.command_line import run_job
from jobs.convert_checkpoint import main
from model.checkpoints import convert
from model.saliency import NETWORKS, load_pipeline
from model.weights import weights_sha256
from tests.golden.branch import GOLDEN, official_state
from tests.golden.official_files import small_unet, small_vae, write_official, write_stable_diffusion

ROOT = Path(__file__).resolve().parents[2]
DONE, USAGE = 0, 2


def run_script(*options, folder=ROOT):
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs/convert_checkpoint.py"), *map(str, options)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def refuse(tmp_path, monkeypatch, capsys):
    """Runs the job in this process and an own folder; gives what it says while it refuses the options with 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*options):
        monkeypatch.setattr(
            sys, "argv", ["convert_checkpoint.py", "--stable-diffusion-repo-path", "sd2", "--out", "out", *options]
        )
        with pytest.raises(SystemExit) as ended:
            run_job(main)
        shown = capsys.readouterr()
        assert (ended.value.code, shown.out) == (USAGE, "")
        return " ".join(shown.err.replace("│", " ").split())  # tyro wraps its messages in a box

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An official checkpoint with the full-size branch (360 MB); tests must not change it."""
    root = tmp_path_factory.mktemp("official")
    yield write_official(root, official_state())
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def converted(files, tmp_path_factory):
    """The folder that the job made with the reference's option names, and the job's output."""
    out = tmp_path_factory.mktemp("converted") / "model"
    done = run_script(
        *("--pretrained_model_path", files.unet, "--stable_diffusion_repo_path", files.stable_diffusion),
        *("--swinb_model_path", files.branch, "--out", out),
    )
    yield out, done
    shutil.rmtree(out.parent)


def test_the_job_prints_one_json_line_with_what_is_in_the_folder(converted):
    out, done = converted
    assert done.returncode == DONE, done.stderr
    assert json.loads(done.stdout) == {
        "out": str(out),
        "bytes": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        "sha256": weights_sha256(out),
        "parameters": {
            "unet": sum(parameter.numel() for parameter in small_unet().parameters()),
            "vae": sum(parameter.numel() for parameter in small_vae().parameters()),
            "conditioner": 88_929_996,
        },
    }


def test_the_same_files_give_the_same_bytes_in_another_process_and_the_same_tensors_when_loaded(
    files, converted, tmp_path
):
    out, _ = converted
    loaded = convert(replace(files, unet=files.unet / "unet"), tmp_path / "again")
    assert (tmp_path / "again/SHA256SUMS").read_bytes() == (out / "SHA256SUMS").read_bytes()
    saved = load_pipeline(out)
    for name in NETWORKS:
        own, expected = (getattr(pipeline, name).state_dict() for pipeline in (saved, loaded))
        assert own.keys() == expected.keys()
        assert all(torch.equal(own[key], expected[key]) for key in own)
    shutil.rmtree(tmp_path / "again")


@torch.no_grad()
def test_the_converted_branch_gives_the_references_features(converted):
    draw = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(11))
    image = functional.interpolate(draw, size=(384, 384), mode="bilinear", align_corners=True).clamp(0, 1)
    expected = load_file(GOLDEN / "branch.safetensors")["features_running_stats"]
    features = load_pipeline(converted[0]).conditioner(image).features[:, :, ::3, ::3]
    assert ((features - expected).abs().max() / expected.std()).item() < 2e-3


@pytest.mark.thorough
def test_the_start_of_a_training_takes_dashes_and_a_random_backbone(tmp_path):
    write_stable_diffusion(tmp_path / "sd2")
    done = run_script(
        *("--from-stable-diffusion", "--backbone", "random", "--seed", "3", "--dtype", "bfloat16"),
        *("--stable-diffusion-repo-path", "sd2", "--out", "made/start"),
        folder=tmp_path,
    )
    assert done.returncode == DONE, done.stderr
    assert json.loads(done.stdout)["parameters"]["conditioner"] == 88_929_996
    origin = json.loads((tmp_path / "made/start/origin.json").read_text())
    assert (origin["dtype"], origin["seed"], origin["backbone"]) == ("bfloat16", 3, "random")
    shutil.rmtree(tmp_path / "made")


OFFICIAL = ("--pretrained-model-path", "unet", "--swinb-model-path", "swinb.pth")
START = ("--from-stable-diffusion", "--backbone", "random")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give either --pretrained-model-path and --swinb-model-path, or --from-stable-diffusion"),
        (OFFICIAL[:2], "give either --pretrained-model-path and --swinb-model-path, or --from-stable-diffusion"),
        ((*OFFICIAL, *START), "give either --pretrained-model-path and --swinb-model-path, or --from-stable-diffusion"),
        ((*START, "--seed", "-1"), "seed is -1; it must be from 0 to 2^63 - 1"),
        ((*START, "--dtype", "int8"), "int8"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_wrong_options_are_refused_by_name_with_2(refuse, tmp_path, options, said):
    assert said in refuse(*options)
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_holds_something_is_refused_with_2_and_kept(refuse, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    assert (
        refuse(*START)
        == "making a model folder in out error: --out out exists and is not an empty folder; give another one"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("options", "said"),
    [(OFFICIAL, "error: there is no folder unet/unet"), (START, "error: there is no folder sd2/unet")],
)
def test_missing_folders_are_refused_by_name_with_2(refuse, tmp_path, options, said):
    missing = "making a model folder in out error: --stable-diffusion-repo-path sd2: there is no such file or folder"
    assert refuse(*options) == missing
    assert list(tmp_path.iterdir()) == []
    for name in ("sd2", "unet"):
        (tmp_path / name).mkdir()
    (tmp_path / "swinb.pth").write_bytes(b"")
    assert refuse(*options) == f"making a model folder in out {said}"
