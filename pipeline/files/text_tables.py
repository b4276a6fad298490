"""Read tables of text, CSV and JSON lines, that strangers made: row by row, within bounds."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from model.documents import DocumentError, parse_object
from pipeline.files import urls

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")
_SUFFIXES = (".csv", ".tsv", *_JSON_SUFFIXES)
MOST_COLUMNS = 10_000
_MOST_LINE_BYTES = 1 << 20
_DELIMITERS = ",;\t|"
_SEEN_ROWS = 1000
"""Rows of JSON lines that tell the columns."""

Row = Mapping[str, str | list[Any]]


class TextTableError(ValueError):
    """It is not a table of text."""


def is_named_like_a_table(file: str, suffixes: tuple[str, ...] = _SUFFIXES) -> bool:
    """Does a path or URL end like one of a table, but for a query such as a signature?"""
    return file.lower().endswith(suffixes) or file.partition("?")[0].lower().endswith(suffixes)


def read_table(file: str) -> tuple[Sequence[str], Iterator[Row]]:
    """The columns and the rows of a table. Cells of JSON that are no texts, numbers or lists count as
    empty.

    Args:   file: path or URL; its suffix tells the format.
    Raises: TextTableError: it is none; the rows raise it too. OSError: it can't be read.
    """
    if is_named_like_a_table(file, _JSON_SUFFIXES):
        rows = _json_rows(file)
        first = list(islice(rows, _SEEN_ROWS))
        columns = list(dict.fromkeys(column for row in first for column in row))
        _require_few(columns)
        return columns, chain(first, rows)
    lines = _lines(file)
    header = next(lines, "")
    parsed = [_cells(header, delimiter) for delimiter in _DELIMITERS]
    columns = max(parsed, key=len)
    _require_few(columns)
    if len(set(columns)) < len(columns):
        double = next(column for column in columns if columns.count(column) > 1)
        raise TextTableError(f"two columns are called {double[:60]!r}; rename one of them")
    return columns, _csv_rows(columns, lines, _DELIMITERS[parsed.index(columns)])


def _cells(header: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error:  # with another delimiter than its own, it may be one cell that is too long
        return []


def _csv_rows(columns: Sequence[str], lines: Iterator[str], delimiter: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for cells in reader:
            if cells:
                yield dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise TextTableError(f"line {reader.line_num + 1}: {error}") from error


def _json_rows(file: str) -> Iterator[Row]:
    for number, line in enumerate(_lines(file), 1):
        if line.strip():
            try:
                values = parse_object(line.encode())
            except DocumentError as error:
                raise TextTableError(f"line {number}: {error}") from error
            yield {name: _cell(value) for name, value in values.items()}


def _cell(value: object) -> str | list[Any]:
    if isinstance(value, list):
        return value
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def _lines(file: str) -> Iterator[str]:
    """The lines of a file in UTF-8, with or without its mark."""
    fs, path = urls.resolve(file, chained=True)
    with fs.open(path, "rb") as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        number = 1
        while True:
            try:
                line = text.readline(_MOST_LINE_BYTES)
            except UnicodeError as error:
                raise TextTableError(f"near line {number}: not UTF-8 ({error}); save the table as UTF-8") from error
            if not line:
                return
            if len(line) == _MOST_LINE_BYTES:
                raise TextTableError(f"line {number} has more than {_MOST_LINE_BYTES:,} characters")
            yield line
            number += 1


def _require_few(columns: Sequence[str]) -> None:
    if len(columns) > MOST_COLUMNS:
        raise TextTableError(f"it has {len(columns):,} columns; at most {MOST_COLUMNS:,} are read")
