"""The contract of training with the shell: the reference's options, exit codes, one JSON line, and kills survived."""

import importlib.util
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from jobs import predict, train
from jobs.command_line import run_job
from jobs.train import main
from pipeline.errors import ConfigError
from pipeline.training import cluster
from tests.model.conftest import build_tiny
from tests.pipeline.training.make import left_by, make_command, make_config, make_pairs, train_quietly

ROOT = Path(__file__).resolve().parents[2]
DONE, FAILED, USAGE = 0, 1, 2
DATA = ("--train_release", "release", "--output_dir", "out")
TIMEOUT_S = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tiny pipeline in `tiny`, and four pairs; tests must not change them."""
    folder = make_pairs(tmp_path_factory.mktemp("in"), 4)
    build_tiny().save_pretrained(folder / "tiny")
    return folder


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """Returns the configuration that arguments give; nothing is trained, and no data are looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "require_places", lambda config: None)

    def run(*arguments):
        asked = []
        for name in ("train_inline", "train_on_ray"):
            monkeypatch.setattr(cluster, name, lambda config, name=name: asked.append((name, config)))
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        assert main() == DONE
        return asked[0]

    return run


def command_of(*arguments):
    return [sys.executable, str(ROOT / "jobs/train.py"), *map(str, arguments)]


def run_script(*arguments, cwd):
    return subprocess.run(command_of(*arguments), cwd=cwd, capture_output=True, text=True, check=False)


REFERENCE = {
    "pretrained_model_name_or_path": ("sd2", "pretrained_model_name_or_path", "sd2"),
    "seed": ("7", "seed", 7),
    "train_batch_size": ("8", "train_batch_size", 8),
    "num_train_epochs": ("3", "num_train_epochs", 3),
    "max_train_steps": ("9", "max_train_steps", 9),
    "gradient_accumulation_steps": ("2", "optimiser.gradient_accumulation_steps", 2),
    "learning_rate": ("1e-4", "optimiser.learning_rate", 1e-4),
    "lr_scheduler": ("cosine", "optimiser.lr_scheduler", "cosine"),
    "lr_warmup_steps": ("10", "optimiser.lr_warmup_steps", 10),
    "dataloader_num_workers": ("1", "data.dataloader_num_workers", 1),
    "adam_beta1": ("0.8", "optimiser.adam_beta1", 0.8),
    "adam_beta2": ("0.9", "optimiser.adam_beta2", 0.9),
    "adam_weight_decay": ("0.1", "optimiser.adam_weight_decay", 0.1),
    "adam_epsilon": ("1e-6", "optimiser.adam_epsilon", 1e-6),
    "max_grad_norm": ("2", "optimiser.max_grad_norm", 2.0),
    "prediction_type": ("epsilon", "loss.prediction_type", "epsilon"),
    "mixed_precision": ("bf16", "mixed_precision", "bf16"),
    "report_to": ("none", "reports.report_to", "none"),
    "logging_dir": ("logs", "reports.logging_dir", Path("logs")),
    "tracker_project_name": ("salient", "reports.tracker_project_name", "salient"),
    "local_rank": ("0", "ignored.local_rank", 0),
    "checkpointing_steps": ("5", "checkpointing_steps", 5),
    "checkpoints_total_limit": ("2", "checkpoints_total_limit", 2),
    "resume_from_checkpoint": ("none", "resume_from_checkpoint", "none"),
    "multires_noise_iterations": ("3", "loss.multires_noise_iterations", 3),
    "multires_noise_discount": ("0.5", "loss.multires_noise_discount", 0.5),
    "processing_res": ("64", "processing_res", 64),
    "val_img": ("v", "data.val_img", Path("v")),
    "val_gt": ("g", "data.val_gt", Path("g")),
}


def field_of(config, dotted):
    for name in dotted.split("."):
        config = getattr(config, name)
    return config


@pytest.mark.parametrize("dashes", [False, True], ids=["underscores", "dashes"])
def test_every_option_of_the_reference_is_accepted_by_its_name(ask, dashes):
    options = {"train_img_list": "i.txt", "train_gt_list": "g.txt", "output_dir": "out"}
    options |= {name: value for name, (value, _, _) in REFERENCE.items()}
    names = {name: name.replace("_", "-") if dashes else name for name in options}
    arguments = [part for name, value in options.items() for part in (f"--{names[name]}", value)]
    _, config = ask(*arguments, "--scale-lr" if dashes else "--scale_lr")
    assert {name: field_of(config, field) for name, (_, field, _) in REFERENCE.items()} == {
        name: value for name, (_, _, value) in REFERENCE.items()
    }
    assert (config.data.train_img_list, config.data.train_gt_list) == (Path("i.txt"), Path("g.txt"))
    assert config.optimiser.scale_lr
    assert config.output_dir == Path.cwd() / "out"


SCRIPT = """
    --pretrained_model_name_or_path sd2 --swinb_model_path swinb.pth
    --train_img_list img_list.txt --train_gt_list gt_list.txt --val_img v --val_gt g --output_dir outputs
    --train_batch_size 4 --num_train_epochs 500 --gradient_accumulation_steps 1 --learning_rate 3e-5
    --lr_warmup_steps 0 --dataloader_num_workers 4 --tracker_project_name salient-detection
    --enable_xformers_memory_efficient_attention --multires_noise_iterations 6
"""


def test_the_command_line_of_the_references_script_is_taken_and_one_line_says_what_has_no_effect(ask, caplog):
    with caplog.at_level("INFO", logger="jobs.train"):
        _, config = ask(*SCRIPT.split())
    assert config.data.dataloader_num_workers == 4
    assert config.ignored.enable_xformers_memory_efficient_attention
    (line,) = [record.getMessage() for record in caplog.records if record.name == "jobs.train"]
    assert line == (
        "without effect here: --enable-xformers-memory-efficient-attention (torch's own attention saves the same "
        "memory), --tracker-project-name (only wandb has projects)"
    )


@pytest.mark.parametrize("installed", [True, False])
def test_wandb_is_taken_where_it_is_installed(ask, monkeypatch, installed):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: (installed or None) if n == "wandb" else find(n))
    if installed:
        assert ask(*DATA, "--report_to", "wandb")[1].reports.report_to == "wandb"
        return
    with pytest.raises(ConfigError, match="training needs wandb, which can't be found: pip install wandb"):
        ask(*DATA, "--report_to", "wandb")


def test_ray_train_is_used_unless_engine_inline_is_configured(ask):
    assert ask(*DATA)[0] == "train_on_ray"
    assert ask(*DATA, "--engine", "inline")[0] == "train_inline"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--output_dir", "out"), "training data is given 0 times; give one of"),
        ((*DATA, "--train_img", "a", "--train_gt", "b"), "training data is given 2 times"),
        ((*DATA, "--val_img", "a"), "--val-img and --val-gt belong together"),
        ((*DATA, "--train_batch_size", "0"), "train_batch_size is 0; it must be at least 1"),
        ((*DATA, "--processing_res", "100"), "processing_res is 100; it must be a multiple of 32"),
        ((*DATA, "--adam_beta1", "1"), "adam_beta1 is 1.0; it must be at least 0 and below 1"),
        ((*DATA, "--lr_scheduler", "zigzag"), "--lr-scheduler"),
        ((*DATA, "--no_such_option", "1"), "Unrecognized options: --no_such_option"),
        ((*DATA, "--engine", "inline"), "--train-release release: there is no such file or folder"),
        ((*DATA,), "--train-release release: there is no such file or folder"),
    ],
)
def test_a_wrong_request_is_refused_by_name_with_2(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_job(main)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (USAGE, "")
    assert said in " ".join(shown.err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("engine", ["inline", "ray"])
def test_an_output_folder_with_the_users_files_is_refused_with_2_before_ray_starts(
    folder, tmp_path, monkeypatch, capsys, engine
):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine").write_text("mine")
    arguments = make_command(folder, folder / "tiny", tmp_path, engine=engine)
    monkeypatch.setattr(cluster, "connected", None)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_job(main)
    assert ended.value.code == USAGE
    assert "holds model but no training.json" in capsys.readouterr().err
    assert (tmp_path / "model/mine").read_text() == "mine"


def test_a_missing_package_is_refused_with_2_and_the_command_that_installs_it(tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    monkeypatch.setattr(sys, "argv", ["train.py", *DATA])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_job(main)
    assert ended.value.code == USAGE
    assert "error: training needs tensorboard, which can't be found: pip install tensorboard" in capsys.readouterr().err


def wait_for(path, process):
    deadline = time.monotonic() + TIMEOUT_S
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.thorough  # test_trainer.py stops the training in process, wherever it is
def test_killed_at_any_moment_the_same_command_ends_with_the_same_bytes(folder, tmp_path, monkeypatch):
    options = {"max_train_steps": 12, "checkpointing_steps": 1, "lr_scheduler": "cosine", "lr_warmup_steps": 2}
    torch.set_num_threads(1)
    train_quietly(make_config(folder, folder / "tiny", tmp_path / "whole", **options))
    arguments = make_command(folder, folder / "tiny", tmp_path / "killed", **options)
    with subprocess.Popen(command_of(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_for(tmp_path / "killed/training.json", process)
        moment_s = random.uniform(0, 4)
        time.sleep(moment_s)
        process.send_signal(signal.SIGKILL)
    done = run_script(*arguments, cwd=tmp_path)
    assert done.returncode == DONE, done.stderr
    assert json.loads(done.stdout) == {"model": str(tmp_path / "killed/model")}
    assert left_by(tmp_path / "killed") == left_by(tmp_path / "whole"), f"killed {moment_s} s after it began"


@pytest.mark.slow
def test_the_model_of_a_training_predicts_with_the_predicting_job(folder, tmp_path, done_here):
    model = train_quietly(make_config(folder, folder / "tiny", tmp_path / "out", max_train_steps=1))
    options = ("--input-rgb-path", folder / "photos", "--output-dir", tmp_path / "masks", "--ensemble-size", "2")
    done = done_here(predict.main, "predict.py", "--model", model, *options, "--denoise-steps", "1")
    assert done.returncode == DONE, done.stderr
    with Image.open(tmp_path / "masks/0.png") as mask:
        assert (mask.mode, mask.size) == ("L", (64, 64))
