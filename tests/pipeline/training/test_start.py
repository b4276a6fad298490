"""Start of a training: its length, its weights, and an output folder of its own."""

import math
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import training_start
from model.checkpoints import load_branch
from pipeline.errors import ConfigError, RunMismatchError
from pipeline.training.pairs import find_pairs
from pipeline.training.start import TrainingPlan, claim_folder, claim_of, resume, starting_weights
from tests.golden.official_files import tiny_branch_state, tiny_conditioner, write_stable_diffusion
from tests.pipeline.training.make import make_config, make_pairs, train_quietly

counts = st.integers(1, 50)


def make(folder, **options):
    return make_config(folder, "nano", folder, **options)


@given(counts, st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(1, 9))
def test_an_epoch_is_as_many_steps_as_see_every_pair(tmp_path_factory, pairs, batch, accumulated, world, epochs):
    options = {"train_batch_size": batch, "gradient_accumulation_steps": accumulated, "num_train_epochs": epochs}
    config = make(tmp_path_factory.getbasetemp(), **options, max_train_steps=None, learning_rate=1e-4)
    plan = TrainingPlan.of(config, pairs, world)
    assert plan.steps_per_epoch == math.ceil(pairs / (batch * accumulated * world))
    assert plan.steps == epochs * plan.steps_per_epoch
    assert plan.validation_steps == plan.steps_per_epoch
    assert plan.learning_rate == 1e-4


def test_steps_overrule_epochs_and_the_rate_grows_with_the_batch_if_it_is_to(tmp_path):
    options = {"max_train_steps": 7, "validation_steps": 3, "scale_lr": True, "learning_rate": 1e-4}
    plan = TrainingPlan.of(make(tmp_path, gradient_accumulation_steps=3, **options), 10, world=4)
    assert (plan.steps, plan.validation_steps) == (7, 3)
    assert plan.learning_rate == pytest.approx(1e-4 * 2 * 3 * 4)


# Weights


def test_the_configured_target_and_resolution_go_into_the_pipeline(tmp_path, tiny_weights):
    options = {"prediction_type": "epsilon", "processing_res": 96}
    pipeline = starting_weights(make_config(tmp_path, tiny_weights, tmp_path, **options))
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    assert pipeline.default_processing_res == 96
    pipeline.save_pretrained(tmp_path / "saved")
    again = starting_weights(make_config(tmp_path, tmp_path / "saved", tmp_path))
    assert (again.scheduler.config.prediction_type, again.default_processing_res) == ("epsilon", 96)


@pytest.mark.parametrize("name", ["nowhere", "fake", "fake:discs"])
def test_missing_weights_are_refused_with_the_option(tmp_path, pairs_folder, name):
    config = make_config(pairs_folder, name, tmp_path / "out")
    with pytest.raises(ConfigError, match=f"--pretrained-model-name-or-path {name}: "):
        train_quietly(config)
    assert not (tmp_path / "out").exists()


def test_stable_diffusion_with_a_branch_is_a_start_and_without_one_the_option_is_named(
    tmp_path, pairs_folder, monkeypatch
):
    monkeypatch.setattr(training_start, "swin_b_conditioner", tiny_conditioner)
    write_stable_diffusion(tmp_path / "sd2")
    torch.save(tiny_branch_state(), tmp_path / "branch.pth")
    with pytest.raises(ConfigError, match=r"sd2: it has no conditioner; .* --swinb-model-path"):
        train_quietly(make_config(pairs_folder, tmp_path / "sd2", tmp_path / "out"))
    config = make_config(
        pairs_folder, tmp_path / "sd2", tmp_path / "out", swinb_model_path=tmp_path / "branch.pth", processing_res=64
    )
    expected = tiny_conditioner()
    load_branch(expected, tmp_path / "branch.pth")
    found = starting_weights(config).conditioner.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())


@pytest.mark.parametrize("content", [None, b"", b"text"])
def test_an_unreadable_branch_is_refused_with_its_option(tmp_path, pairs_folder, tiny_weights, content):
    if content is not None:
        (tmp_path / "branch.pth").write_bytes(content)
    config = make_config(pairs_folder, tiny_weights, tmp_path / "out", swinb_model_path=tmp_path / "branch.pth")
    with pytest.raises(ConfigError, match=r"--swinb-model-path: .*branch\.pth"):
        train_quietly(config)
    assert not (tmp_path / "out").exists()


def test_another_branch_is_another_training(tmp_path, pairs_folder, tiny_weights):
    claims = []
    for content in (b"a", b"b"):
        (tmp_path / "branch.pth").write_bytes(content)
        config = make_config(pairs_folder, tiny_weights, tmp_path, swinb_model_path=tmp_path / "branch.pth")
        claims.append(claim_of(config, (), 1)["swinb"])
    assert claims[0] != claims[1]


# The output folder


@pytest.mark.parametrize(
    ("option", "before", "after"),
    [
        ("learning_rate", 0.001, 0.002),
        ("train_batch_size", 2, 3),
        ("seed", 0, 1),
        ("flip", False, True),
        ("use_ema", False, True),
        ("mixed_precision", "no", "bf16"),
        ("lr_scheduler", "constant", "cosine"),
        ("multires_noise_discount", 0.3, 0.5),
        ("processing_res", None, 64),
        ("masks", "grey", "binary"),
        ("mask_resize", "bicubic", "bilinear"),
        ("auxiliary_resize", "bilinear", "area"),
        ("gradient_accumulation_steps", 1, 2),
    ],
)
def test_another_setting_is_refused_with_both_values(tmp_path, pairs_folder, tiny_weights, option, before, after):
    settle(make_config(pairs_folder, tiny_weights, tmp_path / "out"))
    written = (tmp_path / "out/training.json").read_bytes()
    other = make_config(pairs_folder, tiny_weights, tmp_path / "out", **{option: after})
    with pytest.raises(RunMismatchError, match=f"  {option}: made with {before}, requested {after}"):
        settle(other)
    assert (tmp_path / "out/training.json").read_bytes() == written


def settle(config, world=1):
    claim_folder(config, claim_of(config, find_pairs(config.data), world))


@pytest.mark.parametrize(("option", "after"), [("max_train_steps", 9), ("checkpointing_steps", 1), ("threads", 2)])
def test_a_setting_that_changes_no_step_may_change(tmp_path, pairs_folder, tiny_weights, option, after):
    settle(make_config(pairs_folder, tiny_weights, tmp_path / "out"))
    settle(make_config(pairs_folder, tiny_weights, tmp_path / "out", **{option: after}))
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_where_the_rate_falls_to_the_end_the_end_may_not_change(tmp_path, pairs_folder, tiny_weights):
    settle(make_config(pairs_folder, tiny_weights, tmp_path / "out", lr_scheduler="linear"))
    longer = make_config(pairs_folder, tiny_weights, tmp_path / "out", lr_scheduler="linear", max_train_steps=9)
    with pytest.raises(RunMismatchError, match="max_train_steps: made with 6, requested 9"):
        settle(longer)


def test_other_pairs_other_weights_and_other_workers_are_refused(tmp_path, pairs_folder, tiny_weights):
    settle(make_config(pairs_folder, tiny_weights, tmp_path / "out"))
    more = make_config(make_pairs(tmp_path / "more", 5), tiny_weights, tmp_path / "out")
    with pytest.raises(RunMismatchError, match="pairs: made with 4, requested 5"):
        settle(more)
    with pytest.raises(RunMismatchError, match="weights: made with "):
        settle(make_config(pairs_folder, "nano", tmp_path / "out"))
    with pytest.raises(RunMismatchError, match="workers: made with 1, requested 2"):
        settle(make_config(pairs_folder, tiny_weights, tmp_path / "out"), world=2)


def test_none_starts_only_in_an_empty_folder(tmp_path, pairs_folder, tiny_weights):
    config = make_config(pairs_folder, tiny_weights, tmp_path / "out", resume_from_checkpoint="none")
    settle(config)
    with pytest.raises(
        RunMismatchError, match="out holds a training; give another --output-dir, or --resume-from-checkpoint latest"
    ):
        settle(config)


def test_a_missing_checkpoint_is_refused_with_the_existing_ones(tmp_path):
    config = make(tmp_path, resume_from_checkpoint="checkpoint-7")
    with pytest.raises(ConfigError, match=rf"--resume-from-checkpoint checkpoint-7: {tmp_path} has no checkpoint"):
        resume(None, config)
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
    with pytest.raises(ConfigError, match="has checkpoint-2, checkpoint-4"):
        resume(None, config)


def test_a_scheduler_whose_target_cannot_be_trained_is_refused_before_the_folder_is_claimed(
    tmp_path, pairs_folder, tiny_weights
):
    weights = shutil.copytree(tiny_weights, tmp_path / "weights")
    file = weights / "scheduler/scheduler_config.json"
    file.write_text(file.read_text().replace("v_prediction", "sample"))
    with pytest.raises(ConfigError, match="predicts 'sample'; give --prediction-type v_prediction or epsilon"):
        train_quietly(make_config(pairs_folder, weights, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_without_checkpoints_a_training_begins(tmp_path):
    assert resume(None, make(tmp_path)) is None
