"""Options of a training: wrong ones are refused with name, value and bound; data come from exactly one source."""

import importlib.util
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, UsageError
from pipeline.options import from_options
from pipeline.training import config as config_module
from pipeline.training.config import (
    DataConfig,
    OptimiserConfig,
    TrainingConfig,
    WorkersConfig,
    require_packages,
    require_places,
    with_absolute_paths,
    without_effect,
)

REFERENCE = {
    "train_batch_size": 4,
    "num_train_epochs": 500,
    "learning_rate": 3e-5,
    "lr_scheduler": "constant",
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_weight_decay": 1e-2,
    "max_grad_norm": 1.0,
    "checkpointing_steps": 1000,
    "multires_noise_iterations": 6,
    "multires_noise_discount": 0.3,
    "multires_noise_copies": "reference",
    "timestep_exponent": 1.0,
    "timestep_draw": "even",
    "mask_range": "batch",
    "auxiliary_weight": 1.0,
    "auxiliary_resize": "bilinear",
    "auxiliary_init": "kaiming",
    "masks": "grey",
    "mask_resize": "bicubic",
    "resume_from_checkpoint": "latest",
    "validation_denoise_steps": None,  # those of the weights it begins with, 10 for the official ones
    "validation_ensemble_size": 1,
    "flip": False,
    "min_crop": 1.0,
    "use_ema": False,
}


def make(**options):
    return from_options(
        TrainingConfig, {"output_dir": Path("out"), "train_release": Path("r"), **options}, missing=None
    )


def test_the_defaults_are_those_of_the_reference():
    config = make()
    parts = (config, config.data, config.optimiser, config.loss)
    found = {name: getattr(part, name) for name in REFERENCE for part in parts if hasattr(part, name)}
    assert found == REFERENCE


@pytest.mark.parametrize(
    ("option", "value", "bound"),
    [
        ("train_batch_size", 0, "at least 1"),
        ("num_train_epochs", 0, "at least 1"),
        ("max_train_steps", 0, "at least 1"),
        ("checkpointing_steps", 0, "at least 1"),
        ("checkpoints_total_limit", 0, "at least 1"),
        ("validation_steps", 0, "at least 1"),
        ("validation_ensemble_size", 0, "at least 1"),
        ("validation_denoise_steps", 0, "from 1 to 999"),
        ("validation_denoise_steps", 1000, "from 1 to 999"),
        ("processing_res", 0, "a multiple of 32"),
        ("processing_res", 100, "a multiple of 32"),
        ("seed", -1, "from 0 to 2^63 - 1"),
        ("seed", 2**63, "from 0 to 2^63 - 1"),
        ("dataloader_num_workers", -1, "at least 0"),
        ("min_crop", 0.0, "above 0 and at most 1"),
        ("min_crop", 1.1, "above 0 and at most 1"),
        ("learning_rate", 0.0, "above 0"),
        ("adam_epsilon", 0.0, "above 0"),
        ("max_grad_norm", -1.0, "above 0"),
        ("max_grad_norm", math.nan, "above 0"),
        ("learning_rate", math.nan, "above 0"),
        ("adam_weight_decay", math.nan, "at least 0"),
        ("multires_noise_discount", math.nan, "at least 0"),
        ("timestep_exponent", math.nan, "above 0"),
        ("adam_beta1", 1.0, "at least 0 and below 1"),
        ("adam_beta2", -0.1, "at least 0 and below 1"),
        ("ema_decay", 1.0, "at least 0 and below 1"),
        ("adam_weight_decay", -1.0, "at least 0"),
        ("conditioner_rate_share", -1.0, "at least 0"),
        ("lr_warmup_steps", -1, "at least 0"),
        ("gradient_accumulation_steps", 0, "at least 1"),
        ("multires_noise_iterations", -1, "at least 0"),
        ("multires_noise_discount", -0.1, "at least 0"),
        ("auxiliary_weight", -1.0, "at least 0"),
        ("timestep_exponent", 0.0, "above 0"),
        ("workers", -1, "at least 0"),
        ("threads", -1, "at least 0"),
        ("max_failures", -1, "at least 0"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_its_bound(option, value, bound):
    with pytest.raises(ValueError, match=option) as refused:
        make(**{option: value})
    assert f"{option} is {value}; it must be" in str(refused.value)
    assert bound in str(refused.value)


def test_whoever_wants_to_cut_no_gradient_is_told_how():
    with pytest.raises(ValueError, match=r"max_grad_norm is inf; .*give a norm that none has, such as 1e9"):
        make(max_grad_norm=math.inf)
    assert make(max_grad_norm=1e9).optimiser.max_grad_norm == 1e9


SOURCES = [("train_img_list", "train_gt_list"), ("train_img", "train_gt"), ("train_release",)]


@given(st.lists(st.sampled_from(SOURCES), max_size=3, unique=True))
def test_data_come_from_exactly_one_source(sources):
    given_ = {name: Path(name) for source in sources for name in source}
    if len(sources) == 1:
        assert all(getattr(DataConfig(**given_), name) == Path(name) for name in given_)
        return
    with pytest.raises(ValueError, match=f"training data is given {len(sources)} times; give one of: --train-img-list"):
        DataConfig(**given_)


@pytest.mark.parametrize("half", ["train_img_list", "train_gt_list", "train_img", "train_gt"])
def test_half_a_source_is_refused(half):
    with pytest.raises(ValueError, match="belong together; one of them is missing"):
        DataConfig(**{half: Path("x")})


@pytest.mark.parametrize("half", ["val_img", "val_gt"])
def test_half_of_the_validation_is_refused(half):
    with pytest.raises(ValueError, match="--val-img and --val-gt belong together"):
        DataConfig(train_release=Path("r"), **{half: Path("x")})


def test_workers_need_ray():
    with pytest.raises(ValueError, match="workers is 2; engine inline is this process alone: use engine ray"):
        make(engine="inline", workers=2)
    assert make(engine="inline", workers=1).cluster.workers == make(workers=2).cluster.workers - 1


def test_a_polynomial_schedule_starts_above_its_end():
    with pytest.raises(
        ValueError, match="learning_rate is 1e-07; it must be above 1e-07, where lr_scheduler polynomial"
    ):
        make(learning_rate=1e-7, lr_scheduler="polynomial")
    assert make(learning_rate=1e-7).optimiser.learning_rate == 1e-7
    assert make(learning_rate=1.1e-7, lr_scheduler="polynomial").optimiser.learning_rate == 1.1e-7


@pytest.mark.parametrize(
    ("missing", "report_to", "command"),
    [
        (["tensorboard"], "tensorboard", "training needs tensorboard, which can't be found: pip install tensorboard"),
        (["py_sod_metrics"], "none", "training needs py_sod_metrics, which can't be found: pip install pysodmetrics"),
        (
            ["pandas", "pydantic"],
            "none",
            "training needs pandas, pydantic, which can't be found: pip install 'ray[train]'",
        ),
        (["tensorboard"], "none", ""),
        (["wandb"], "wandb", "training needs wandb, which can't be found: pip install wandb"),
        (["tensorboard", "wandb"], "none", ""),
    ],
)
def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch, missing, report_to, command):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    config = make(report_to=report_to)
    if not command:
        require_packages(config)
        return
    with pytest.raises(ConfigError) as refused:
        require_packages(config)
    whole = "" if missing == ["wandb"] else ", or the whole extra, in the project's folder: pip install '.[train]'"
    assert str(refused.value) == command + whole


def test_data_weights_and_workers_that_are_not_there_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(config_module, "gpus_here", lambda: 0)
    made = {"output_dir": tmp_path / "out", "train_img": tmp_path, "train_gt": tmp_path, "train_release": None}
    require_places(make(**made))
    for options, said in (
        ({"train_img": tmp_path / "none"}, "--train-img .*none: there is no such file or folder"),
        ({"val_img": tmp_path, "val_gt": tmp_path / "none"}, "--val-gt .*none: there is no such"),
        ({"swinb_model_path": tmp_path / "none"}, "--swinb-model-path .*none: there is no such"),
        ({"pretrained_model_name_or_path": "none"}, "--pretrained-model-name-or-path none: there is no such"),
        ({"workers": 10_000}, r"--workers 10000: this machine has \d+ CPUs and 0 GPUs, one per worker; give at most"),
    ):
        with pytest.raises(UsageError, match=said):
            require_places(make(**made | options))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    require_places(make(**made | {"workers": 10_000}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, []),
        ({"report_to": "wandb", "tracker_project_name": "p"}, []),
        ({"logging_dir": Path("logs")}, []),
        ({"tracker_project_name": "p"}, ["--tracker-project-name"]),
        ({"report_to": "none", "logging_dir": Path("logs")}, ["--logging-dir"]),
        (
            {"enable_xformers_memory_efficient_attention": True, "local_rank": 0},
            ["--enable-xformers-memory-efficient-attention", "--local-rank"],
        ),
    ],
)
def test_options_without_effect_are_named_only_when_given(options, named):
    assert [option.partition(" ")[0] for option in without_effect(make(**options))] == named


def test_the_parts_have_defaults_that_pass_their_own_checks():
    assert OptimiserConfig().gradient_accumulation_steps == 1
    assert WorkersConfig().workers == 0


@pytest.mark.parametrize("source", SOURCES)
def test_resolved_paths_mean_the_same_in_every_working_folder(tmp_path, monkeypatch, source):
    data = DataConfig(**{name: Path(name) for name in source}, val_img=Path("/photos"), val_gt=Path("masks"), flip=True)
    given_ = TrainingConfig(output_dir=Path("out"), data=data, pretrained_model_name_or_path="weights", seed=3)
    monkeypatch.chdir(tmp_path)
    config = with_absolute_paths(given_)
    assert [getattr(config.data, name) for name in source] == [tmp_path / name for name in source]
    assert (config.data.val_img, config.data.val_gt, config.data.flip) == (Path("/photos"), tmp_path / "masks", True)
    assert (config.output_dir, config.pretrained_model_name_or_path) == (tmp_path / "out", str(tmp_path / "weights"))
    assert (config.seed, with_absolute_paths(config)) == (3, config)
    assert (
        with_absolute_paths(TrainingConfig(output_dir=Path("out"), data=data)).pretrained_model_name_or_path == "nano"
    )
