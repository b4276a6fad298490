"""The manifest as scripts, so that the page also works from a file: columns, in chunks of rows.

`fetch` does not work from a file, `<script src>` does, so each chunk is a call to a function of `rows.js`. `data-*.js`
has what the gallery, filters and plots need; `details-*.js` has the remaining columns and is loaded when an image is
opened. Everything is ASCII without `<`, so no text of a collection can end a script.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pipeline.selection.policy import Bound

Row = Mapping[str, Any]
CHUNK_ROWS = 20_000
DIGITS = 5
"""Significant digits of a score; more would not be visible and would add a third to the bytes."""

_PLAIN = ("key", "file_name", "width", "height", "members")
_NAMED = ("verdict", "reason", "split", "tar", "supercategory", "author")
"""Texts that many rows share: a row stores a place in a dictionary."""
_LICENCE = ("license_id", "license_name", "license_url")
_GALLERY = frozenset((*_PLAIN, *_NAMED, *_LICENCE, "categories"))
"""Columns that `data-*.js` has, besides the scores."""


class Dictionary:
    """Distinct values, numbered in order of first appearance."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        """Return the place of a value; add the value if it is new."""
        return self._places.setdefault(value, len(self._places))

    def values(self) -> list[Any]:
        """All values, in the order of their places."""
        return list(self._places)


def data_files(
    rows: Sequence[Row], bounds: Sequence[Bound], scores: Collection[str]
) -> tuple[dict[str, bytes], dict[str, list[Any]]]:
    """Encode all rows as chunks; also return the dictionaries that their places refer to.

    Args: rows: manifest rows, in manifest order.
          bounds: rounding keeps every score on its side of these.
          scores: the columns that are scores, in page order.
    """
    dictionaries = {name: Dictionary() for name in (*_NAMED, "licence", "category")}
    files: dict[str, bytes] = {}
    for number, first in enumerate(range(0, len(rows), CHUNK_ROWS)):
        chunk = rows[first : first + CHUNK_ROWS]
        columns: dict[str, list[Any]] = {name: [row[name] for row in chunk] for name in _PLAIN}
        for name in _NAMED:
            columns[name] = [dictionaries[name].place(row.get(name, "")) for row in chunk]  # format 2: no author
        columns["licence"] = [dictionaries["licence"].place(tuple(row[name] for name in _LICENCE)) for row in chunk]
        columns["categories"] = [[dictionaries["category"].place(name) for name in row["categories"]] for row in chunk]
        for name in scores:
            of_score = [bound.limit for bound in bounds if bound.score == name]
            columns[name] = [rounded(row[name], of_score) for row in chunk]
        files[f"page/data-{number:03d}.js"] = call("rows", {"first": first, "columns": columns})
        details = {
            name: [_finite(row[name]) for row in chunk]
            for name in chunk[0]
            if name not in _GALLERY and name not in scores
        }
        files[f"page/details-{number:03d}.js"] = call("details", {"chunk": number, "columns": details})
    return files, {name: dictionary.values() for name, dictionary in dictionaries.items()}


def rounded(score: float | None, bounds: Sequence[float]) -> float | None:
    """Round a score to `DIGITS` significant digits; keep it exact if rounding would move it onto or across a bound.

    Returns: None if the score is None or not finite.
    """
    if score is None or not math.isfinite(score):
        return None
    short = float(f"{score:.{DIGITS}g}")
    is_same_side = all((short > bound) - (short < bound) == (score > bound) - (score < bound) for bound in bounds)
    return short if is_same_side and math.isfinite(short) else score  # the largest numbers round to infinity


def call(function: str, *values: Any, page: str = "sodPage") -> bytes:
    """Encode a script that calls a function of a page's global object with some values."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=True, allow_nan=False)[1:-1]
    safe = text.replace("<", "\\u003c")
    return f"{page}.{function}({safe});\n".encode("ascii")


def _finite(value: Any) -> Any:
    """Replace NaN and infinities by None: columns of later manifests may contain them, JSON can't."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
