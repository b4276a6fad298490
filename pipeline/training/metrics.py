"""Metrics of a training by step: a CSV file that a resumed training continues, and TensorBoard or wandb."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.files import storage
from pipeline.training.config import ReportConfig

COLUMNS = ("step", "epoch", "loss", "loss_diffusion", "loss_auxiliary", "learning_rate", "mae", "s_measure", "max_f")
"""Losses are means since the previous row; the last three come from validations and are empty in other rows."""


WANDB_PROJECT = "salient-detection"
"""The reference's default."""


class Metrics:
    """Writes rows to `metrics.csv` and reports them, from the step at which a training starts or resumes.

    Raises: ConfigError: wandb can't be used.
    """

    def __init__(self, folder: Path, step: int, reports: ReportConfig) -> None:
        self._path = folder / "metrics.csv"
        rows = _rows(self._path)
        self._rows = [row for row in rows if int(row["step"]) <= step]  # later steps are taken again
        self._board = _board(folder / reports.logging_dir, step) if reports.report_to == "tensorboard" else None
        self._wandb = _wandb(folder, reports) if reports.report_to == "wandb" else None
        if len(self._rows) != len(rows):
            self._publish()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the metrics of a step, whole or not at all."""
        self._rows.append({"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}})
        self._publish()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()
        if self._wandb is not None:
            self._wandb.log(dict(values), step=step)

    def best(self, name: str, larger_is_better: bool) -> float | None:
        """The best value of all validations so far; None before the first."""
        values = [float(row[name]) for row in self._rows if row.get(name)]
        return (max if larger_is_better else min)(values) if values else None

    def close(self) -> None:
        """Close TensorBoard's file or wandb's run."""
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()

    def _publish(self) -> None:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        storage.publish(str(self._path), buffer.getvalue().encode())


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def _board(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def _wandb(folder: Path, reports: ReportConfig) -> Any:
    import wandb

    project = reports.tracker_project_name or WANDB_PROJECT
    try:
        return wandb.init(project=project, name=folder.name, dir=str(folder))
    except Exception as error:  # of many classes: no key, no network, no such project
        raise ConfigError(
            f"--report-to wandb: {error}; log in with `wandb login`, or set WANDB_MODE=offline"
        ) from error
