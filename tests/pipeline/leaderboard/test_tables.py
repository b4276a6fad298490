"""The tables of a leaderboard: order, best values, and texts that stay texts."""

import csv
import io
from pathlib import Path

import pytest

from pipeline.leaderboard.board import Board
from pipeline.leaderboard.tables import latex, markdown, ranked, table_csv
from tests.pipeline.leaderboard.test_board import ABOUT, entry

HOSTILE = "</td><script>alert(1)</script>|$x_1$ & \\input{x} =1+1"


def board(*entries):
    return Board(folder=Path(), about=ABOUT, entries=entries)


def figures(**metrics):
    return {"metrics": metrics, "intervals": {name: (value - 0.01, value + 0.01) for name, value in metrics.items()}}


ONE, TWO = entry(name="one", **figures(mae=0.1, s_measure=0.8)), entry(name="two", **figures(mae=0.2, s_measure=0.9))


def test_the_best_comes_first_whatever_best_means():
    none = entry(name="a", metrics={}, intervals={})
    assert [found.name for found in ranked([none, TWO, ONE], "mae")] == ["one", "two", "a"]
    assert [found.name for found in ranked([none, TWO, ONE], "s_measure")] == ["two", "one", "a"]


def test_markdown_has_a_row_per_model_with_intervals_and_notes():
    text = markdown(board(ONE, entry(name="odd", link="https://x/(a)", trained_on="ECSSD", **figures(mae=0.3))), "mae")
    rows = [line for line in text.splitlines() if line.startswith(("| 1", "| 2"))]
    assert rows[0].startswith("| 1 | one | 0.1000 [0.090, 0.110] | 0.8000 [0.790, 0.810] | –")
    assert rows[1].startswith("| 2 | [odd](<https://x/(a)>) <sup>1</sup> | 0.3000")
    assert "1. trained on test sets of the field: ECSSD" in text


def test_latex_marks_the_two_best_of_a_column():
    third = entry(name="three", **figures(mae=0.1004, s_measure=0.1))
    text = latex(board(ONE, TWO, third), "s_measure")
    assert r"one & \textbf{0.100} & \underline{0.800}" in text
    assert r"three & \textbf{0.100} & 0.100" in text  # equal as the table shows them
    assert r"two & \underline{0.200} & \textbf{0.900}" in text
    assert text.count(r"\\") == 4


def test_csv_has_every_figure_and_opens_no_formula():
    rows = list(csv.DictReader(io.StringIO(table_csv(board(ONE, entry(name="=1+1", **figures(mae=0.5))), "mae"))))
    assert [row["model"] for row in rows] == ["one", "'=1+1"]
    assert (float(rows[0]["mae"]), float(rows[0]["mae_low"])) == (0.1, pytest.approx(0.09))
    assert rows[0]["iou"] == ""


def test_texts_of_strangers_stay_texts():
    whole = board(entry(name=HOSTILE, trained_on="x", **figures(mae=0.1)))
    text = markdown(whole, "mae")
    assert "<script" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("| 1")]
    assert line.count("|") == 12
    assert r"\textbackslash{}input\{x\}" in latex(whole, "mae")
    assert r"\$x\_1\$ \&" in latex(whole, "mae")
