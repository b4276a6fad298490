"""CSV files that people open: a spreadsheet takes no cell for a formula, and no cell has a control character."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.shown import printable

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def cell(value: Any) -> str:
    """The text of a cell: control characters as escapes, so that tab and CR begin none; formulas behind a quote."""
    text = printable(str(value))
    return f"'{text}" if text.startswith(_BEGINS_A_FORMULA) else text


class CsvTable:
    """Collects the rows of a CSV file as RFC 4180 has them: commas, quotes where they are needed, CR LF."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._buffer = io.StringIO(newline="")
        self._writer = csv.writer(self._buffer, lineterminator="\r\n")
        self._writer.writerow(columns)

    def add(self, values: Iterable[Any]) -> None:
        """Add a row."""
        self._writer.writerow([cell(value) for value in values])

    def encode(self) -> bytes:
        """Encode the file."""
        return self._buffer.getvalue().encode()
