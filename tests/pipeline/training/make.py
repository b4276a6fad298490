"""Small trainings: a few photos with discs, the tiny pipeline, and the command that runs it; all made by formulas."""

import csv
import os
from pathlib import Path

import numpy as np
import torch

from pipeline.options import from_options
from pipeline.training.config import TrainingConfig
from pipeline.training.trainer import Worker, train_in_worker
from tests.pipeline.evaluation.make import photo, save, truth

ROOT = Path(__file__).resolve().parents[3]
SIDE_PX = 64


class Interruption(Exception):
    """Stops a training in these tests."""


def make_pairs(folder, count, height=SIDE_PX, width=SIDE_PX):
    """`photos/n.png`, on which a bright disc stands, and `masks/n.png`, for n from 0; gives the folder."""
    for number in range(count):
        disc = truth(number, height, width)
        pixels = np.where(disc[:, :, None], 255 - photo(number, height, width) // 4, photo(number, height, width) // 2)
        save(folder / "photos" / f"{number}.png", pixels)
        save(folder / "masks" / f"{number}.png", disc)
    return folder


def make_config(folder, weights, out, **options):
    """A training on the pairs of `folder`, of 6 steps with a checkpoint after every second; options by name."""
    given = {"pretrained_model_name_or_path": str(weights), "output_dir": Path(out), "engine": "inline", "threads": 1}
    given |= {"train_img": folder / "photos", "train_gt": folder / "masks", "train_batch_size": 2, "report_to": "none"}
    given |= {"max_train_steps": 6, "checkpointing_steps": 2, "learning_rate": 1e-3, "lr_warmup_steps": 2}
    config: TrainingConfig = from_options(TrainingConfig, given | options, missing=None)
    return config


def make_command(folder, weights, out, **options):
    """Arguments of jobs/train.py for the same training, with underscores."""
    given = {"pretrained_model_name_or_path": weights, "output_dir": out, "engine": "inline", "threads": 1}
    given |= {"train_img": folder / "photos", "train_gt": folder / "masks", "train_batch_size": 2, "report_to": "none"}
    given |= {"max_train_steps": 6, "checkpointing_steps": 2, "learning_rate": 1e-3}
    return [part for name, value in (given | options).items() for part in (f"--{name}", str(value))]


def train_quietly(config, after_step=lambda values: None):
    """Train in this process without waiting for the disk; `after_step` gets each row of metrics, and may raise."""
    torch.manual_seed(os.getpid() + len(str(config.output_dir)))  # nothing may depend on earlier draws
    return train_in_worker(config, Worker(report=after_step))


def stop_at(step):
    """Raise when the row of metrics of that step is written, which is before its checkpoint."""

    def after_step(values):
        if values["step"] == step:
            raise Interruption

    return after_step


def rows_of(out):
    with (Path(out) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights_of(model):
    """Network → bytes of its weights."""
    files = sorted(Path(model).rglob("*.safetensors"))
    assert len(files) == 3
    return {path.parent.name: path.read_bytes() for path in files}


def left_by(out):
    """Metrics and weights, which must not depend on interruptions."""
    return (Path(out) / "metrics.csv").read_bytes(), weights_of(Path(out) / "model")
