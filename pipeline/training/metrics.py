"""Numbers of a training over its steps: a CSV that a resumed training continues, and TensorBoard."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.files import storage

COLUMNS = ("step", "epoch", "loss", "loss_diffusion", "loss_auxiliary", "learning_rate", "mae", "s_measure", "max_f")
"""Losses are means since the row before; the last three are of a validation, empty elsewhere."""


class Metrics:
    """Rows for `metrics.csv` and scalars for TensorBoard, from the step on at which a training is resumed."""

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        self._path = folder / "metrics.csv"
        rows = _rows(self._path)
        self._rows = [row for row in rows if int(row["step"]) <= step]  # later ones come again
        self._board = _board(folder / "tensorboard", step) if tensorboard else None
        if len(self._rows) != len(rows):
            self._publish()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers of a step, whole or not at all."""
        self._rows.append({"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}})
        self._publish()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def best(self, name: str, larger_is_better: bool) -> float | None:
        """The best value that any validation so far gave."""
        values = [float(row[name]) for row in self._rows if row.get(name)]
        return (max if larger_is_better else min)(values) if values else None

    def close(self) -> None:
        """Let go of TensorBoard's file."""
        if self._board is not None:
            self._board.close()

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
