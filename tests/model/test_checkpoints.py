"""The official checkpoint loaded and converted, with a small UNet and VAE and a tiny branch; faults of its parts."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from model import checkpoints
from model.checkpoints import CheckpointError, OfficialFiles, convert, load_branch, load_official
from model.config import EnsembleConfig
from model.folders import save_pipeline
from model.official_names import official_name
from model.saliency import NETWORKS, load_pipeline
from tests.golden.official_files import (
    UNUSED_TENSORS,
    small_unet,
    small_vae,
    tiny_branch_state,
    tiny_conditioner,
    write_official,
)

few = settings(deadline=None, max_examples=10)
STATE = tiny_branch_state()
LIVE = sorted(STATE.keys() - UNUSED_TENSORS.keys())


@pytest.fixture(autouse=True)
def _tiny_branch(monkeypatch):
    monkeypatch.setattr(checkpoints, "swin_b_conditioner", tiny_conditioner)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An official layout; tests must not change it."""
    return write_official(tmp_path_factory.mktemp("official"), STATE)


@pytest.fixture
def files(saved, tmp_path):
    """An official layout for one test, which may damage it."""
    root = Path(shutil.copytree(saved.branch.parent, tmp_path / "official"))
    return OfficialFiles(unet=root / "checkpoint", stable_diffusion=root / "sd2", branch=root / "swinb.pth")


@pytest.fixture(scope="module")
def converted(saved, tmp_path_factory):
    """The folder that `convert` makes of the official layout, and the pipeline it returned."""
    out = tmp_path_factory.mktemp("converted") / "made/out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "swin_b_conditioner", tiny_conditioner)
        return out, convert(saved, out)


@pytest.fixture(scope="module")
def conditioner():
    return tiny_conditioner()


def assert_equal(one, other):
    for name in NETWORKS:
        own, expected = (getattr(pipeline, name).state_dict() for pipeline in (one, other))
        assert own.keys() == expected.keys()
        assert all(torch.equal(own[key], expected[key]) for key in own)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is loaded


def test_every_part_has_the_official_weights_in_evaluation_mode_without_gradients(saved):
    pipeline = load_official(saved)
    for name, expected in (("unet", small_unet()), ("vae", small_vae())):
        state, own = expected.state_dict(), getattr(pipeline, name).state_dict()
        assert all(torch.equal(own[key], state[key]) for key in state)
    branch = pipeline.conditioner.state_dict()
    assert all(torch.equal(value, STATE[official_name(name)]) for name, value in branch.items())
    assert len(branch) == len(LIVE)
    for name in NETWORKS:
        assert not any(module.training for module in getattr(pipeline, name).modules())
        assert not any(parameter.requires_grad for parameter in getattr(pipeline, name).parameters())
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.default_processing_res == 384
    assert pipeline.progress_bar(range(1)).disable


def test_the_unets_own_folder_and_a_safetensors_branch_work_too(saved, files):
    save_file(STATE, files.branch.with_suffix(".safetensors"))
    other = replace(files, unet=files.unet / "unet", branch=files.branch.with_suffix(".safetensors"))
    assert_equal(load_official(other), load_official(saved))


@pytest.mark.parametrize("side", [33, 100])
def test_official_weights_predict_at_sizes_that_are_no_whole_latents_patches_or_windows(saved, image_of, side):
    asked = EnsembleConfig(processing_res=side, batch_stats=True, ensemble_size=1, denoise_steps=1)
    (prediction,) = load_official(saved).predict([image_of(40, 50)], ["7"], asked)
    assert prediction.members.shape == (1, side // 8 * 8, side // 8 * 8)
    assert prediction.saliency.shape == (40, 50)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_are_returned_and_saved_in_the_requested_precision(saved, tmp_path, dtype):
    convert(saved, tmp_path / "out", dtype)
    for pipeline in (load_official(saved, dtype), load_pipeline(tmp_path / "out", dtype)):
        for name in NETWORKS:
            network = getattr(pipeline, name)
            tensors = [*network.parameters(), *network.buffers()]
            assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {dtype}
    assert json.loads((tmp_path / "out/origin.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")


# What is refused of the branch


@few
@given(st.sets(st.sampled_from(sorted(UNUSED_TENSORS))))
def test_unused_tensors_may_be_present_or_missing(conditioner, tmp_path_factory, kept):
    file = tmp_path_factory.mktemp("branch") / "swinb.pth"
    torch.save({name: STATE[name] for name in [*LIVE, *kept]}, file)
    with torch.no_grad():
        for value in conditioner.state_dict().values():
            value.zero_()
    load_branch(conditioner, file)
    assert all(torch.equal(value, STATE[official_name(name)]) for name, value in conditioner.state_dict().items())


@few
@given(st.data())
def test_a_lost_a_foreign_a_reshaped_and_a_retyped_tensor_are_named_officially(conditioner, tmp_path_factory, data):
    file = tmp_path_factory.mktemp("branch") / "swinb.pth"
    lost, reshaped, retyped = data.draw(st.lists(st.sampled_from(LIVE), min_size=3, max_size=3, unique=True))
    state = {name: value for name, value in STATE.items() if name != lost}
    state |= {reshaped: STATE[reshaped][None], retyped: STATE[retyped].double(), "module.context3": torch.ones(1)}
    torch.save(state, file)
    before = {name: value.clone() for name, value in conditioner.state_dict().items()}
    with pytest.raises(CheckpointError) as raised:
        load_branch(conditioner, file)
    message = str(raised.value)
    assert message.startswith(f"{file} does not hold the expected tensors: 1 missing ({lost} ")
    assert "1 unknown (module.context3 float32 [1])" in message
    assert "2 of another form" in message
    assert f"{reshaped} is " in message
    assert f"{retyped} is float64 {list(STATE[retyped].shape)}, expected " in message
    assert all(torch.equal(value, before[name]) for name, value in conditioner.state_dict().items())


def test_the_file_of_a_whole_training_run_is_refused_as_a_branch(files):
    torch.save({"state_dict": STATE, "epoch": 500}, files.branch)
    with pytest.raises(CheckpointError, match=r"swinb\.pth .*more than names and tensors: 'state_dict': dict of"):
        load_official(files)


# What is refused of the other parts


def test_stable_diffusions_own_unet_is_refused_with_advice(files):
    with pytest.raises(CheckpointError, match=r"takes 4 channels, expected 8.*use --from-stable-diffusion"):
        load_official(replace(files, unet=files.stable_diffusion))


@pytest.mark.parametrize(
    ("part", "network", "said"),
    [
        ("checkpoint/unet", lambda: small_unet(in_channels=9), "in_channels is 9, expected 8"),
        ("checkpoint/unet", lambda: small_unet(out_channels=8), "out_channels is 8, expected 4"),
        ("checkpoint/unet", lambda: small_unet(cross_attention_dim=768), "cross_attention_dim is 768, expected 1024"),
        (
            "checkpoint/unet",
            lambda: small_unet(cross_attention_dim=(1024, 1024, 64, 1024)),
            r"cross_attention_dim is \[1024, 1024, 64, 1024\], expected 1024",
        ),
        ("sd2/vae", lambda: small_vae(latent_channels=8), "latent_channels is 8, expected 4"),
    ],
)
def test_a_network_of_other_widths_is_refused(files, part, network, said):
    folder = files.branch.parent / part
    network().save_pretrained(folder)
    with pytest.raises(CheckpointError, match=rf"{folder}/config\.json: {said}$"):
        load_official(files)


@pytest.mark.parametrize("part", ["checkpoint/unet", "checkpoint", "sd2/vae", "sd2", "sd2/scheduler", "swinb.pth"])
def test_a_missing_part_is_refused_by_name(files, part):
    path = files.branch.parent / part
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(CheckpointError, match=part.replace(".", r"\.")):
        load_official(files)


@pytest.mark.parametrize("content", ["{", "[]", '{"beta_schedule": "no such"}', '{"num_train_timesteps": "many"}'])
def test_a_broken_scheduler_is_refused(files, content):
    (files.stable_diffusion / "scheduler/scheduler_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"sd2/scheduler can't be loaded as DDIMScheduler: \w+"):
        load_official(files)


# What is saved


def test_a_converted_folder_is_opened_with_every_tensor_as_it_was_loaded(saved, converted):
    out, returned = converted
    official = load_official(saved)
    assert_equal(load_pipeline(out), official)
    assert_equal(returned, official)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_equal_files_give_equal_bytes_wherever_they_and_the_folder_are(converted, files, tmp_path):
    one, _ = converted
    convert(replace(files, unet=files.unet / "unet"), tmp_path / "two")
    assert contents(one) == contents(tmp_path / "two")
    texts = [content for name, content in contents(one).items() if not name.endswith(".safetensors")]
    assert len(texts) == 7
    assert not any(os.fsencode(tmp_path.parent) in text for text in texts)


def test_the_origin_names_every_file_that_was_read_with_its_hash(saved, converted):
    origin = json.loads((converted[0] / "origin.json").read_text())
    read = {
        "unet": saved.unet / "unet",
        "vae": saved.stable_diffusion / "vae",
        "scheduler": saved.stable_diffusion / "scheduler",
        "branch": saved.branch.parent,
    }
    assert origin.keys() == {"kind", "dtype", "files"}
    assert origin["files"].keys() == read.keys()
    names = {part: sorted(files) for part, files in origin["files"].items()}
    assert names["unet"] == names["vae"] == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert (names["scheduler"], names["branch"]) == (["scheduler_config.json"], ["swinb.pth"])
    for part, folder in read.items():
        for name, recorded in origin["files"][part].items():
            sha256sum = subprocess.run(["sha256sum", folder / name], capture_output=True, text=True, check=True).stdout
            assert recorded == {"sha256": sha256sum[:64], "bytes": (folder / name).stat().st_size}


def test_sha256sum_checks_every_file_and_notices_a_changed_one(converted, tmp_path):
    out = Path(shutil.copytree(converted[0], tmp_path / "out"))
    check = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    done = subprocess.run(check, cwd=out, capture_output=True, text=True, check=True)
    assert [line.removesuffix(": OK") for line in done.stdout.splitlines()] == sorted(contents(out))[1:]
    assert min(contents(out)) == "SHA256SUMS"
    (out / "origin.json").write_text("{}")
    assert subprocess.run(check, cwd=out, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("is_file", [False, True])
def test_a_folder_that_holds_something_is_refused_before_anything_is_read(tmp_path, is_file):
    kept = tmp_path / "out" if is_file else tmp_path / "out/kept"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("kept")
    nowhere = OfficialFiles(unet=tmp_path / "no", stable_diffusion=tmp_path / "no", branch=tmp_path / "no")
    with pytest.raises(CheckpointError, match="out already exists"):
        convert(nowhere, tmp_path / "out")
    assert kept.read_text() == "kept"


@pytest.mark.parametrize("out", ["file/out", "/proc/out"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(saved, tmp_path, monkeypatch, out):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(checkpoints, "load_official", None)
    with pytest.raises(CheckpointError, match="nothing can be written there"):
        convert(saved, tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_missing_branch_is_refused_before_the_unet_is_loaded(files, monkeypatch):
    monkeypatch.setattr(checkpoints, "load_network", None)
    files.branch.unlink()
    with pytest.raises(CheckpointError, match=r"there is no file .*/swinb\.pth"):
        load_official(files)


def test_an_empty_folder_is_accepted_and_what_lies_beside_it_stays(saved, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / ".out.partial/unet").mkdir(parents=True)
    (tmp_path / ".out.partial/unet/mine").write_text("mine")
    convert(saved, tmp_path / "out")
    assert "unet/mine" not in contents(tmp_path / "out")
    assert (tmp_path / ".out.partial/unet/mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "out"]


def test_a_model_in_which_somebody_put_a_file_while_its_successor_was_made_is_not_replaced(saved, tmp_path):
    pipeline = load_official(saved)
    save_pipeline(pipeline, tmp_path / "model", {"kind": "training"}, replace=True)
    save_pipeline(pipeline, tmp_path / "model", {"kind": "training", "step": 2}, replace=True)
    assert json.loads((tmp_path / "model/origin.json").read_text())["step"] == 2
    for name in ("notes.txt", "origin.json"):
        before = contents(tmp_path / "model")
        (tmp_path / "model" / name).write_text("mine")
        with pytest.raises(CheckpointError, match=rf"{name} in it is not what a training wrote"):
            save_pipeline(pipeline, tmp_path / "model", {"kind": "training"}, replace=True)
        assert contents(tmp_path / "model") == before | {name: b"mine"}
        (tmp_path / "model/notes.txt").unlink(missing_ok=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_may_have_the_longest_name_there_is_and_be_replaced(saved, tmp_path):
    out = tmp_path / ("日" * 85)
    for step in (1, 2):
        save_pipeline(load_official(saved), out, {"kind": "training", "step": step}, replace=True)
    assert json.loads((out / "origin.json").read_text())["step"] == 2
    assert list(tmp_path.iterdir()) == [out]


def test_the_working_folder_can_be_the_target(saved, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    convert(saved, Path("."))
    assert (tmp_path / "here/SHA256SUMS").is_file()


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_conversion_that_fails_while_saving_leaves_nothing(saved, tmp_path, monkeypatch, failing):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="the disk is full"):
        convert(saved, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_files_that_appear_in_the_folder_meanwhile_are_not_replaced(saved, tmp_path, monkeypatch):
    def somebody_else_writes(_):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out/theirs").touch()

    monkeypatch.setattr(os, "fsync", somebody_else_writes)
    with pytest.raises(CheckpointError, match="out already exists"):
        convert(saved, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs"]
