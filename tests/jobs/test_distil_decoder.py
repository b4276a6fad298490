"""jobs/distil_decoder.py: what is refused before torch is loaded, and a whole distillation of a tiny model."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jobs.distil_decoder import main
from model.architectures import build_pipeline
from model.checkpoint_files import load_network
from model.config import EnsembleConfig, ModelConfig
from model.decoder_choice import MASK_DECODER, Agreement, Stated, decoder_of
from model.mask_decoder import MaskDecoder, build_mask_decoder
from model.saliency import load_pipeline
from model.vae_digest import digest_of_folder
from pipeline.collection.config import InputConfig
from pipeline.config import RunConfig
from pipeline.distillation.distil import Distilled
from pipeline.runs.fingerprint import fingerprint, model_fields
from pipeline.runs.locking import locked
from tests.model.conftest import build_tiny

ROOT = Path(__file__).resolve().parents[2]
DONE, USAGE = 0, 2
SMALL = ("--examples", 4, "--steps", 4, "--batch", 2, "--held-out", 3)
WITHOUT_TORCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "diffusers", "timm"):
            raise ImportError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Blocker())
from jobs.command_line import run_job
from jobs.distil_decoder import main
run_job(main)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A saved model; tests must not change it."""
    folder = tmp_path_factory.mktemp("source")
    build_tiny().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "nowhere"), "--model nowhere: there is no such folder"),
        (("--model", "full"), "--model full: it has no model_index.json"),
        (("--model", "fake"), "model is 'fake'; give a folder on this machine, or nano"),
        (("--steps", "0"), "steps is 0; it must be at least 1"),
        (("--seed", "-1"), "seed is -1"),
        (("--device", "tpu"), "--device tpu: there is no such device"),
        (("--out", "full"), "--out full holds mine.txt, and no distillation began it"),
        (("--out", "/proc/no-such-folder"), "nothing can be written there"),
        (("--photographs", "nowhere"), "--photographs nowhere: there is no such folder"),
        (("--photographs", "full"), "full holds 1 files, none of which ends in"),
    ],
)
def test_a_wrong_request_writes_nothing(run_here, monkeypatch, tmp_path, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    code, stdout, stderr = run_here(main, "distil_decoder.py", "--out", "new", *options)
    assert (code, stdout) == (USAGE, "")
    assert said in " ".join(stderr.replace("│", " ").split())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine.txt"]


def test_refusals_need_no_torch(tmp_path):
    (tmp_path / "mine.txt").touch()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (USAGE, ""), done.stderr
    assert "holds mine.txt, and no distillation began it" in done.stderr


def test_a_model_that_can_not_be_loaded_is_a_wrong_request(source, done_here, tmp_path):
    shutil.copytree(source, tmp_path / "torn")
    weights = tmp_path / "torn/vae/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    done = done_here(main, "distil_decoder.py", "--model", tmp_path / "torn", "--out", tmp_path / "out", *SMALL)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "is torn or not a file of tensors" in done.stderr


def test_a_distillation_ends_with_a_model_that_has_its_decoder(source, done_here, tmp_path):
    done = done_here(main, "distil_decoder.py", "--model", source, "--out", tmp_path / "out", *SMALL)
    assert done.returncode == DONE, done.stderr
    told = json.loads(done.stdout)
    made = tmp_path / "out/model"
    decoder = load_pipeline(made).mask_decoder
    assert told == {
        "model": str(made),
        "parameters": sum(parameter.numel() for parameter in decoder.parameters()),
        "worst": str(tmp_path / "out/worst.png"),
        "distilled_from": digest_of_folder(source / "vae"),
        "agreement": [one.as_fields() for one in decoder.stated.agreement],
        "taken_by_auto": False,
    }
    assert Path(told["worst"]).read_bytes().startswith(b"\x89PNG")
    assert f"{decoder.stated.agreement[1].iou:.4f} at 64 px" in done.stderr
    assert f"--model {made}" in done.stderr
    again = done_here(main, "distil_decoder.py", "--model", source, "--out", tmp_path / "out", *SMALL)
    assert (again.returncode, again.stdout) == (DONE, done.stdout)


def test_with_photographs_it_names_their_ious(source, done_here, tmp_path):
    photographs = ROOT / "pipeline/sample/images"
    options = ("--photographs", photographs, *SMALL)
    done = done_here(main, "distil_decoder.py", "--model", source, "--out", tmp_path / "out", *options)
    assert done.returncode == DONE, done.stderr
    measured = [Agreement.of(one) for one in json.loads(done.stdout)["agreement"]]
    assert [one.maps_of for one in measured] == ["drawn"] * 3 + ["photographs"] * 3
    assert f"IoU with the VAE's masks of photographs {measured[3].iou:.4f} at 40 px" in done.stderr


@pytest.mark.parametrize(
    ("iou", "known", "taken", "said"),
    [
        (0.995, True, True, "--decoder auto takes it"),
        (0.994, True, False, "below 0.995, so that only --decoder mask takes it"),
        (0.995, False, False, "its VAE is in bfloat16, by which auto can't know it, so that only --decoder mask"),
    ],
)
def test_it_says_whether_auto_takes_the_decoder(done_here, tmp_path, monkeypatch, iou, known, taken, said):
    measured = Agreement(side_px=64, iou=iou, mae=0.0, s_measure=1.0, maps=1)
    stated = Stated(agreement=(measured,), distilled_from="ab" * 32 if known else None)
    made = Distilled(model=tmp_path / "m", worst=tmp_path / "w.png", trained_px=64, stated=stated, parameters=1)
    monkeypatch.setattr("pipeline.distillation.distil.distil", lambda _: made)
    done = done_here(main, "distil_decoder.py", "--out", tmp_path / "out")
    assert json.loads(done.stdout)["taken_by_auto"] == taken
    assert said in done.stderr


def test_a_second_session_is_refused_as_a_wrong_request_and_writes_nothing(source, done_here, tmp_path):
    out = tmp_path / "out"
    with locked(str(out)):
        done = done_here(main, "distil_decoder.py", "--model", source, "--out", out, *SMALL)
        assert (done.returncode, done.stdout) == (USAGE, "")
        assert "works on this run. Let it finish, or stop it and run the same command again" in done.stderr
        assert [path.name for path in out.iterdir()] == ["lease"]


@pytest.mark.parametrize(("iou", "used"), [(0.995, "mask"), (0.9949, "vae")])
def test_the_fingerprint_names_the_decoder_that_is_used(source, tmp_path, iou, used):
    pipeline = load_pipeline(source)
    pipeline.save_pretrained(tmp_path / "plain")
    assert "decoder" not in model_fields(ModelConfig(model=str(tmp_path / "plain")))
    decoder = build_mask_decoder("small")
    measured = Agreement(side_px=64, iou=iou, mae=0.0, s_measure=1.0, maps=1)
    decoder.state([measured], digest_of_folder(tmp_path / "plain/vae"))
    decoder.save_pretrained(tmp_path / "plain" / MASK_DECODER)
    fields = {
        wanted: model_fields(ModelConfig(model=str(tmp_path / "plain"), decoder=wanted))
        for wanted in ("auto", "vae", "mask")
    }
    assert fields["auto"] == fields[used]
    assert "decoder" not in fields["vae"]
    assert fields["mask"]["decoder"] == "mask"
    config = ModelConfig(model=str(tmp_path / "plain"))
    ensemble = EnsembleConfig(processing_res=72)
    elsewhere = RunConfig(out="run", input=InputConfig(images="images"), model=config, ensemble=ensemble)
    assert "decoder" not in fingerprint(elsewhere)
    assert fingerprint(replace(elsewhere, ensemble=EnsembleConfig(processing_res=64))).get("decoder", "vae") == used


@pytest.mark.full_size
@pytest.mark.timeout(1800)
def test_a_decoder_is_distilled_from_a_vae_of_full_size_with_random_weights(done_here, tmp_path):
    torch.manual_seed(0)
    made = build_pipeline("full")
    made.set_processing_res(128)  # at 384 px, one core takes a minute for a few maps
    made.to(dtype=torch.float16).save_pretrained(tmp_path / "full")
    del made
    done = done_here(main, "distil_decoder.py", "--model", tmp_path / "full", "--out", tmp_path / "out", *SMALL)
    assert done.returncode == DONE, done.stderr
    config = ModelConfig(model=str(tmp_path / "out/model"), decoder="mask")
    assert decoder_of(config) == "mask"
    decoder = load_network(MaskDecoder, config.folder / MASK_DECODER)
    assert decoder.config.channels == [256, 128, 64]
    assert [one.maps for one in decoder.stated.agreement] == [1, 3, 1]
