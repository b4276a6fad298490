"""Read tables of text, CSV and JSON lines, that strangers made: row by row, within bounds."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_IN_PLAIN_WORDS = (
    ("unexpected end", "a cell begins with a quote that is never closed; close it"),
    ("expected after", 'text follows the quote that closes a cell; write a quote within a cell twice, ""'),
    ("field limit", f"a cell has more than {csv.field_size_limit():,} characters; is a quote never closed?"),
)
"""What the errors of `csv` say → what that means."""

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
    return _read_csv(_lines(file))


def _read_csv(lines: Iterator[str]) -> tuple[Sequence[str], Iterator[Row]]:
    header = next(lines, "")
    delimiter = max(_DELIMITERS, key=lambda one: _count_cells(header, one))
    rows = _csv_rows(chain([header], lines), delimiter)
    _, columns = next(rows, (1, []))
    _require_few(columns)
    doubles = [column for column, count in Counter(columns).items() if count > 1 and column.strip()]
    if doubles:
        raise TextTableError(f"two columns are called {doubles[0][:60]!r}; rename one of them")
    return columns, _named(rows, columns)


def _count_cells(header: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([header], delimiter=delimiter), []))
    except csv.Error:  # with another delimiter than its own, it may be one cell that is too long
        return 0


def _csv_rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, and the line in which it begins; strict, because a quote that is never closed would make
    one cell of all rows after it."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        begins = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            said = next((plain for start, plain in _IN_PLAIN_WORDS if start in str(error)), str(error))
            raise TextTableError(f"line {begins}: {said}") from error
        if cells is None:
            return
        yield begins, cells


def _named(rows: Iterable[tuple[int, list[str]]], columns: Sequence[str]) -> Iterator[Row]:
    for line, cells in rows:
        if any(cell.strip() for cell in cells[len(columns) :]):
            raise TextTableError(
                f"line {line}: it has more cells ({len(cells):,}) than there are columns ({len(columns):,}). Put "
                "quotes around cells that have the character that separates cells"
            )
        if cells:
            yield dict(zip(columns, cells, strict=False))


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
