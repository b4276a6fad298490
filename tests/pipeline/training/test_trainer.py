"""The training: stopped anywhere and run again, it ends with the numbers and weights of an uninterrupted one."""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from model.checkpoint_facts import BOUNDS, CheckpointFacts
from model.config import ModelConfig
from model.mask_decoder import MaskDecoder
from model.saliency import load_pipeline
from pipeline.errors import CollectionError, ConfigError, ModelError, StorageError
from pipeline.training import trainer
from pipeline.training.state import checkpoints
from pipeline.training.trainer import Worker
from tests.model.conftest import build_tiny
from tests.pipeline.make import unsynced
from tests.pipeline.training.make import (
    Interruption,
    left_by,
    make_config,
    make_pairs,
    rows_of,
    stop_at,
    train_quietly,
    weights_of,
)

STEPS = 6
KINDS = {
    "as the reference": {},
    "everything else": {"use_ema": True, "ema_decay": 0.9, "gradient_accumulation_steps": 2, "flip": True}
    | {"lr_scheduler": "cosine", "conditioner_rate_share": 0.5, "validation_steps": 3},
}
stops = st.lists(st.integers(1, STEPS), min_size=1, max_size=2)


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory, tiny_weights, pairs_folder):
    """Makes the configuration of one kind of training for an output folder, and what it leaves uninterrupted."""
    options = KINDS[request.param]
    if "validation_steps" in options:
        options = options | {"val_img": pairs_folder / "photos", "val_gt": pairs_folder / "masks"}
        options |= {"validation_denoise_steps": 2}

    def config_for(out):
        return make_config(pairs_folder, tiny_weights, out, **options)

    out = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.training.watch.LOG_EVERY_STEPS", 1)
        patch.setattr(os, "fsync", lambda _: None)
        train_quietly(config_for(out))
    return config_for, out


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
@given(stops)
@settings(max_examples=1 if settings().max_examples < 1000 else 20, deadline=None)
def test_stopped_anywhere_and_run_again_numbers_and_weights_are_the_same(kind, stops):
    config_for, uninterrupted = kind
    with tempfile.TemporaryDirectory() as out:
        for stop in sorted(set(stops)):
            with pytest.raises(Interruption):
                train_quietly(config_for(out), stop_at(stop))
        train_quietly(config_for(out))
        assert left_by(out) == left_by(uninterrupted)
        if (uninterrupted / "best").exists():
            assert weights_of(Path(out) / "best") == weights_of(uninterrupted / "best")


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("kind", ["everything else"], indirect=True)
def test_stopped_while_writing_a_checkpoint_it_resumes_from_the_one_before(kind, tmp_path, monkeypatch):
    config_for, uninterrupted = kind
    saved = []

    def full_disk(*arguments):
        saved.append(arguments)
        if len(saved) == 2:
            raise OSError("No space left on device")
        save_file(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.training.state.save_file", full_disk)
        with pytest.raises(OSError, match="No space left"):
            train_quietly(config_for(tmp_path))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-2"]
    assert (tmp_path / "checkpoint-4.partial").is_dir()
    train_quietly(config_for(tmp_path))
    assert left_by(tmp_path) == left_by(uninterrupted)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("kind", ["everything else"], indirect=True)
def test_it_resumes_from_a_named_checkpoint_and_a_finished_training_takes_no_step(kind, tmp_path):
    config_for, uninterrupted = kind
    shutil.copytree(uninterrupted, tmp_path, dirs_exist_ok=True)
    told = []
    train_quietly(config_for(tmp_path), told.append)
    assert told == []
    assert left_by(tmp_path) == left_by(uninterrupted)
    train_quietly(replace(config_for(tmp_path), resume_from_checkpoint="checkpoint-4"), told.append)
    assert [values["step"] for values in told] == [5, 6]
    assert left_by(tmp_path) == left_by(uninterrupted)


def test_losses_since_the_last_row_outlive_a_stop(tmp_path, tiny_weights, pairs_folder, monkeypatch):
    """The checkpoint of step 2 lies within a row of metrics, that of step 4."""
    monkeypatch.setattr("pipeline.training.watch.LOG_EVERY_STEPS", 4)
    train_quietly(make_config(pairs_folder, tiny_weights, tmp_path / "whole", max_train_steps=4))
    stopped = make_config(pairs_folder, tiny_weights, tmp_path / "stopped", max_train_steps=4)
    with pytest.raises(Interruption):
        train_quietly(stopped, stop_at(4))
    train_quietly(stopped)
    assert left_by(tmp_path / "stopped") == left_by(tmp_path / "whole")
    assert [row["step"] for row in rows_of(tmp_path / "whole")] == ["4"]


@pytest.mark.usefixtures("every_step")
def test_where_the_rate_is_constant_a_longer_training_begins_as_a_shorter_one(tmp_path, tiny_weights, pairs_folder):
    for out, ends in (("once", [4]), ("twice", [2, 4])):
        for end in ends:
            train_quietly(make_config(pairs_folder, tiny_weights, tmp_path / out, max_train_steps=end))
    assert left_by(tmp_path / "once") == left_by(tmp_path / "twice")


@pytest.mark.usefixtures("every_step")
def test_other_seeds_give_other_numbers(tmp_path, tiny_weights, pairs_folder):
    for out, options in {"a": {}, "b": {"seed": 1}}.items():
        train_quietly(make_config(pairs_folder, tiny_weights, tmp_path / out, max_train_steps=1, **options))
    assert rows_of(tmp_path / "a") != rows_of(tmp_path / "b")


def test_a_model_keeps_what_learning_does_not_change(tmp_path, pairs_folder):
    """The mask decoder, as its VAE does not learn; steps and members; no bounds on the variance of other weights."""
    tiny = build_tiny()
    tiny.state_facts(CheckpointFacts(default_denoise_steps=3, default_ensemble_size=4, recommended_bounds=dict(BOUNDS)))
    tiny.register_modules(mask_decoder=MaskDecoder(channels=(8, 8, 8), blocks=(1, 1, 1), norm_num_groups=4))
    tiny.save_pretrained(tmp_path / "start")
    train_quietly(make_config(pairs_folder, tmp_path / "start", tmp_path / "out", max_train_steps=1))
    started, learnt = (load_pipeline(folder) for folder in (tmp_path / "start", tmp_path / "out/model"))
    assert started.facts.recommended_bounds == dict(BOUNDS)
    assert learnt.facts == CheckpointFacts(default_denoise_steps=3, default_ensemble_size=4)
    before, after = started.mask_decoder.state_dict(), learnt.mask_decoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.thorough
def test_the_loss_falls_over_a_few_dozen_steps(tmp_path, tiny_weights, pairs_folder, monkeypatch):
    monkeypatch.setattr("pipeline.training.watch.LOG_EVERY_STEPS", 20)
    config = make_config(
        pairs_folder, tiny_weights, tmp_path, max_train_steps=60, checkpointing_steps=60, learning_rate=2e-3
    )
    train_quietly(config)
    first, _, last = rows_of(tmp_path)
    assert float(last["loss"]) < 0.1 * float(first["loss"])
    assert float(last["loss_auxiliary"]) < 0.1 * float(first["loss_auxiliary"])
    assert float(last["loss_diffusion"]) < 1.1 * float(first["loss_diffusion"])


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_and_keeps_weights_in_float32(tmp_path, tiny_weights, pairs_folder, precision):
    model = train_quietly(
        make_config(pairs_folder, tiny_weights, tmp_path, max_train_steps=2, mixed_precision=precision)
    )
    losses = [float(row["loss_diffusion"]) for row in rows_of(tmp_path)]
    assert all(0 < loss < 10 for loss in losses)
    assert {value.dtype for value in load_file(next(model.glob("unet/*.safetensors"))).values()} == {torch.float32}


@pytest.mark.usefixtures("every_step")
def test_where_fp16_overflows_the_weights_and_the_rate_are_left(tmp_path, tiny_weights, pairs_folder):
    """The auxiliary loss of the tiny pipeline times the first scale, 65536, is more than a half can hold."""
    options = {"mixed_precision": "fp16", "max_train_steps": 1, "lr_scheduler": "linear"}
    train_quietly(make_config(pairs_folder, tiny_weights, tmp_path, **options))
    memory = torch.load(tmp_path / "checkpoint-1/optimiser.pt", weights_only=True)
    assert memory["scaler"]["scale"] == 32768
    assert memory["schedule"]["last_epoch"] == 0
    trained = load_file(tmp_path / "checkpoint-1/networks.safetensors")
    start = load_file(next(tiny_weights.glob("unet/*.safetensors")))
    assert all(torch.equal(trained[f"unet.{name}"], value) for name, value in start.items())


def test_gradients_of_accumulated_batches_are_the_mean_of_those_of_each(tmp_path, tiny_weights, pairs_folder):
    """And not those of one large batch: noise is drawn, and statistics are taken, per batch."""
    config = make_config(pairs_folder, tiny_weights, tmp_path, gradient_accumulation_steps=2)
    pipeline = load_pipeline(ModelConfig(model=str(tiny_weights)).folder)
    networks = trainer.FineTuning(pipeline, config.loss).train()
    state = trainer.TrainingState(networks, config, 1e-3, 6)
    batches = [(torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64).round()) for _ in range(2)]

    def gradients(*parts):
        state.optimiser.zero_grad()
        for part in parts:
            trainer._learn(batches[part], networks, state, config, Worker(), part)
        return [p.grad.clone() for p in networks.parameters() if p.grad is not None]

    for both, first, second in zip(gradients(0, 1), gradients(0), gradients(1), strict=True):
        assert torch.allclose(both, first + second, rtol=1e-3, atol=1e-3 * both.abs().max().item())


def test_a_loss_that_is_not_finite_stops_before_it_spoils_a_checkpoint(tmp_path, tiny_weights, pairs_folder):
    pipeline = load_pipeline(tiny_weights)
    with torch.no_grad():
        pipeline.unet.conv_out.bias[0] = float("nan")
    pipeline.save_pretrained(tmp_path / "nan")
    config = make_config(pairs_folder, tmp_path / "nan", tmp_path / "out")
    with pytest.raises(ModelError, match="the loss of step 0 is nan; start again in another --output-dir with a lower"):
        train_quietly(config)
    assert checkpoints(tmp_path / "out") == []


def test_only_the_unets_gradient_is_cut(tmp_path, tiny_weights, pairs_folder, monkeypatch):
    lengths = {}

    def look(state):
        for name in ("unet", "conditioner"):
            grads = [p.grad.norm() for p in getattr(state.networks, name).parameters() if p.grad is not None]
            lengths[name] = torch.stack(grads).norm().item()
        raise Interruption

    monkeypatch.setattr(trainer.TrainingState, "take_step", look)
    with pytest.raises(Interruption):
        train_quietly(make_config(pairs_folder, tiny_weights, tmp_path, max_grad_norm=1e-3))
    assert lengths["unet"] == pytest.approx(1e-3, rel=1e-2)
    assert lengths["conditioner"] > 1


def test_a_pair_that_is_not_an_image_is_refused_by_name_before_training(tmp_path, tiny_weights):
    folder = make_pairs(tmp_path / "in", 3)
    (folder / "masks/1.png").write_bytes(b"no image")
    with pytest.raises(CollectionError, match=r"can't train on image .* and mask .*masks/1\.png: "):
        train_quietly(make_config(folder, tiny_weights, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_torn_image_that_training_meets_is_named_and_no_fault_of_the_request(tmp_path, tiny_weights):
    folder = make_pairs(tmp_path / "in", 2)
    whole = (folder / "masks/1.png").read_bytes()
    (folder / "masks/1.png").write_bytes(whole[: len(whole) // 2])
    config = make_config(folder, tiny_weights, tmp_path / "out", max_train_steps=2)
    with pytest.raises(StorageError, match=r"masks/1\.png: .*run the same command again to resume"):
        train_quietly(config)
    (folder / "masks/1.png").write_bytes(whole)
    train_quietly(config)


def test_a_precision_that_the_device_lacks_is_refused_before_weights_are_loaded(tmp_path, pairs_folder, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("Current CUDA Device does not support bfloat16.\nmore")

    monkeypatch.setattr(torch, "autocast", refuse)
    monkeypatch.setattr(trainer, "starting_weights", None)
    config = make_config(pairs_folder, "nano", tmp_path / "out", mixed_precision="bf16")
    with pytest.raises(ConfigError, match=r"^--mixed-precision bf16 can't be used on cpu: Current .* bfloat16\.$"):
        train_quietly(config)
    assert not (tmp_path / "out").exists()


def test_no_name_of_a_checkpoint_or_a_model_is_lost_in_a_power_cut(disk_events, tmp_path, tiny_weights, pairs_folder):
    train_quietly(make_config(pairs_folder, tiny_weights, tmp_path / "out", max_train_steps=2, checkpointing_steps=1))
    assert ("named", str(tmp_path / "out/checkpoint-2")) in disk_events
    assert ("named", str(tmp_path / "out/model")) in disk_events
    assert unsynced(disk_events, tmp_path / "out") == []
