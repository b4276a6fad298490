"""A leaderboard as text: Markdown, LaTeX for papers, CSV for programs. Pure."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.interval_tables import COLUMNS
from pipeline.evaluation.on_release.label_errors import UNCHECKED, explained_in_words, of_many_in_words
from pipeline.files.tables import cell
from pipeline.leaderboard.board import Board, Entry, marks_of
from pipeline.release.templates import as_cell, as_text

SHOWN = ("mae", "s_measure", "weighted_f", "max_f", "mean_f", "max_e", "mean_e", "iou")
"""The metrics of the Markdown and LaTeX tables; CSV and page have all."""
LOWER_IS_BETTER = frozenset({"mae"})
_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
_HEADS = {"↓": r"$\downarrow$", "↑": r"$\uparrow$"}


def ranked(entries: Sequence[Entry], metric: str) -> list[Entry]:
    """The entries, the best first; those without the metric last, and equal ones by name."""
    sign = 1 if metric in LOWER_IS_BETTER else -1

    def place(entry: Entry) -> tuple[bool, float, str]:
        value = entry.metrics.get(metric)
        return value is None, sign * (value or 0.0), entry.name

    return sorted(entries, key=place)


def markdown(board: Board, metric: str, certificate: Mapping[str, Any] | None = None) -> str:
    """The table for people.

    Args: certificate: of the release, as `certificate_section` makes it; None if nobody has checked the masks.
    """
    about = board.about
    lines = [
        f"# Leaderboard of {as_text(about.release)}",
        "",
        f"{about.images:,} images of {as_text(about.release)} ({', '.join(about.splits)}), sorted by {metric}. In "
        "brackets: 95 % interval of the bootstrap over the images.",
        "",
        *_checked(board, certificate),
        "",
        "| | model | " + " | ".join(COLUMNS[name] for name in SHOWN) + " | missing |",
        "|---|---|" + "---|" * (len(SHOWN) + 1),
    ]
    notes: list[str] = []
    for place, entry in enumerate(ranked(board.entries, metric), start=1):
        numbers = []
        for mark in marks_of(entry, about):
            if mark not in notes:
                notes.append(mark)
            numbers.append(str(notes.index(mark) + 1))
        name = as_cell(entry.name)
        shown = f"[{name}](<{entry.link}>)" if entry.link else name
        sup = f" <sup>{', '.join(sorted(numbers, key=int))}</sup>" if numbers else ""
        cells = [_with_interval(entry, column) for column in SHOWN]
        lines.append(f"| {place} | {shown}{sup} | {' | '.join(cells)} | {entry.missing or ''} |")
    lines += ["", *(f"{number}. {as_text(note)}" for number, note in enumerate(notes, start=1))]
    lines += ["", f"Release: `{about.release_sha256}`. Scorer: `{about.scorer}`.", ""]
    return "\n".join(lines)


def checked(board: Board, certificate: Mapping[str, Any] | None) -> tuple[str, str]:
    """The certificate's sentence, as its maker wrote it; and how much of a difference wrong labels can explain."""
    if certificate is None:
        return UNCHECKED, ""
    maes = [mae for entry in board.entries if (mae := entry.metrics.get("mae")) is not None]
    follows = of_many_in_words(certificate, maes)
    return certificate["sentence"], f"{explained_in_words(certificate)} {follows}".rstrip()


def _checked(board: Board, certificate: Mapping[str, Any] | None) -> list[str]:
    sentence, explained = checked(board, certificate)
    return [f"**{as_text(sentence)}** {explained}".rstrip()]


def latex(board: Board, metric: str) -> str:
    """The table for a paper (package booktabs): the best of a column bold, the second underlined, as the field does."""
    best = {name: _two_best(board.entries, name) for name in SHOWN}
    heads = []
    for name in SHOWN:
        words, _, arrow = COLUMNS[name].rpartition(" ")
        heads.append(f"{words} {_HEADS[arrow]}")
    rows = []
    for entry in ranked(board.entries, metric):
        cells = []
        for name in SHOWN:
            value = entry.metrics.get(name)
            text = "--" if value is None else f"{value:.3f}"
            first, second = best[name]
            if value is not None and text == first:
                text = rf"\textbf{{{text}}}"
            elif value is not None and text == second:
                text = rf"\underline{{{text}}}"
            cells.append(text)
        rows.append(f"{_latex(entry.name)} & {' & '.join(cells)} \\\\")
    about = board.about
    return "\n".join(
        [
            f"% {about.release}, {about.images} images, release {about.release_sha256}, scorer {about.scorer}",
            rf"\begin{{tabular}}{{l{'c' * len(SHOWN)}}}",
            r"\toprule",
            f"Model & {' & '.join(heads)} \\\\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def table_csv(board: Board, metric: str) -> str:
    """All figures with their intervals."""
    names = list(COLUMNS)
    heads = ["model", "link", "trained_on", "marks", "missing"]
    heads += [head for name in names for head in (name, f"{name}_low", f"{name}_high")]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heads)
    for entry in ranked(board.entries, metric):
        marks = "; ".join(marks_of(entry, board.about))
        cells = [cell(text) for text in (entry.name, entry.link, entry.trained_on, marks)]
        row: list[str | int | float | None] = [*cells, entry.missing]
        for name in names:
            row += [entry.metrics.get(name), *entry.intervals.get(name, ("", ""))]
        writer.writerow(row)
    return text.getvalue()


def _with_interval(entry: Entry, name: str) -> str:
    value = entry.metrics.get(name)
    if value is None:
        return "–"
    low, high = entry.intervals.get(name, (None, None))
    return f"{value:.4f}" if low is None else f"{value:.4f} [{low:.3f}, {high:.3f}]"


def _two_best(entries: Sequence[Entry], name: str) -> tuple[str, str]:
    """The two best values of a column, as the table shows them; equal ones share a place."""
    known = {f"{value:.3f}" for entry in entries if (value := entry.metrics.get(name)) is not None}
    ordered = sorted(known, key=float, reverse=name not in LOWER_IS_BETTER)
    first, second, *_ = [*ordered, "", ""]
    return first, second


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
