"""Rows of numbers: a resumed training continues them, none lost and none doubled, in the CSV and on the board."""

import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.training.config import ReportConfig
from pipeline.training.metrics import COLUMNS, Metrics
from tests.pipeline.training.make import rows_of

NONE = ReportConfig(report_to="none")


def make_values(step, **overrides):
    return {"epoch": step / 4, "loss": 1 / step, "learning_rate": 3e-5, **overrides}


def write_rows(folder, resumed, first, last, reports=NONE):
    """Act as a training that resumes at step `resumed` and stops after row `last`."""
    metrics = Metrics(Path(folder), resumed, reports)
    for step in range(first, last + 1):
        metrics.add(step, make_values(step))
    metrics.close()


def scalars_of(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=4))
def test_stopped_anywhere_and_resumed_the_file_is_that_of_an_uninterrupted_training(stops):
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as stopped:
        write_rows(whole, 0, 1, 9)
        checkpoint = 0
        for stop, back in sorted(stops):
            write_rows(stopped, checkpoint, checkpoint + 1, stop)
            checkpoint = max(checkpoint, stop - back)
        write_rows(stopped, checkpoint, checkpoint + 1, 9)
        assert (Path(stopped) / "metrics.csv").read_bytes() == (Path(whole) / "metrics.csv").read_bytes()


def test_a_row_has_all_columns_and_empty_ones_where_nothing_was_validated(tmp_path):
    metrics = Metrics(tmp_path, 0, NONE)
    metrics.add(1, make_values(1))
    metrics.add(2, make_values(2, mae=0.25))
    first, second = rows_of(tmp_path)
    assert tuple(first) == COLUMNS
    assert (first["step"], first["loss"], first["mae"]) == ("1", "1", "")
    assert (second["step"], second["loss"], second["mae"]) == ("2", "0.5", "0.25")


def test_rows_after_the_checkpoint_are_gone_as_soon_as_the_training_resumes(tmp_path):
    write_rows(tmp_path, 0, 1, 5)
    Metrics(tmp_path, 3, NONE)
    assert [row["step"] for row in rows_of(tmp_path)] == ["1", "2", "3"]


def test_the_best_value_is_the_least_or_the_greatest_up_to_the_checkpoint(tmp_path):
    metrics = Metrics(tmp_path, 0, NONE)
    assert metrics.best("mae", larger_is_better=False) is None
    for step, mae in enumerate([0.3, 0.2, 0.25, 0.1], start=1):
        metrics.add(step, make_values(step, mae=mae))
    assert metrics.best("mae", larger_is_better=False) == 0.1
    assert metrics.best("mae", larger_is_better=True) == 0.3
    assert Metrics(tmp_path, 3, NONE).best("mae", larger_is_better=False) == 0.2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_board_has_each_step_once_after_a_resume(tmp_path):
    write_rows(tmp_path, 0, 1, 5, ReportConfig())
    time.sleep(1.1)  # event files are told apart, and read in order, by the second
    write_rows(tmp_path, 3, 4, 7, ReportConfig())
    assert scalars_of(tmp_path, "loss") == [(step, pytest.approx(1 / step)) for step in range(1, 8)]


def test_without_the_board_there_is_no_folder_of_it(tmp_path):
    write_rows(tmp_path, 0, 1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_board_is_in_the_configured_folder(tmp_path):
    write_rows(tmp_path, 0, 1, 1, ReportConfig(logging_dir=Path("logs/run")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "metrics.csv"]
    assert len(list((tmp_path / "logs/run").iterdir())) == 1


@pytest.mark.parametrize(("given_", "project"), [(None, "salient-detection"), ("mine", "mine")])
def test_wandb_gets_every_row_with_its_step_in_one_run_of_the_project(tmp_path, monkeypatch, given_, project):
    calls = []
    run = SimpleNamespace(log=lambda row, step: calls.append((step, row)), finish=lambda: calls.append("finished"))
    wandb = SimpleNamespace(init=lambda **options: calls.append(options) or run)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    write_rows(tmp_path / "out", 0, 1, 2, ReportConfig(report_to="wandb", tracker_project_name=given_))
    begun = {"project": project, "name": "out", "dir": str(tmp_path / "out")}
    assert calls == [begun, (1, make_values(1)), (2, make_values(2)), "finished"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["metrics.csv"]


def test_a_wandb_that_cannot_be_used_is_refused_with_its_reason(tmp_path, monkeypatch):
    def refuse(**_):
        raise RuntimeError("no API key configured")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    with pytest.raises(ConfigError, match="--report-to wandb: no API key configured; log in with `wandb login`"):
        Metrics(tmp_path, 0, ReportConfig(report_to="wandb"))
