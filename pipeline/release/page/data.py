"""The manifest as scripts that a page loads from a file: columns, cut into chunks of rows.

`fetch` does not work from a file, `<script src>` does: each chunk is a call of a function of `page/rows.js`. What
the gallery, its filters and its plots need is in `data-*.js`; the rest of a record comes when one is opened, from
`details-*.js`. Everything is ASCII and free of `<`, so no text of a data set ends a script.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.release.page.scores import SHOWN
from pipeline.selection.policy import Bound

Row = Mapping[str, Any]
CHUNK_ROWS = 20_000
DIGITS = 5
"""Significant digits of a score: what nobody sees costs a third of the bytes."""

_PLAIN = ("key", "file_name", "width", "height", "members")
_NAMED = ("verdict", "reason", "split", "tar", "supercategory")
"""Texts that many rows share: a row has its place in a dictionary."""
_LICENCE = ("license_id", "license_name", "license_url")
_GALLERY = frozenset((*_PLAIN, *_NAMED, *_LICENCE, "categories", *SHOWN))


class Dictionary:
    """Values by their place, in the order in which they came."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        """The place of a value, a new one if it was not there."""
        return self._places.setdefault(value, len(self._places))

    def values(self) -> list[Any]:
        """All values."""
        return list(self._places)


def data_files(rows: Sequence[Row], bounds: Sequence[Bound]) -> tuple[dict[str, bytes], dict[str, list[Any]]]:
    """The chunks of all rows, and the dictionaries that their places point into.

    Args: rows: of the manifest, in its order.
          bounds: scores are rounded such that each stays on its side of these.
    """
    dictionaries = {name: Dictionary() for name in (*_NAMED, "licence", "category")}
    files: dict[str, bytes] = {}
    for number, first in enumerate(range(0, len(rows), CHUNK_ROWS)):
        chunk = rows[first : first + CHUNK_ROWS]
        columns: dict[str, list[Any]] = {name: [row[name] for row in chunk] for name in _PLAIN}
        for name in _NAMED:
            columns[name] = [dictionaries[name].place(row[name]) for row in chunk]
        columns["licence"] = [dictionaries["licence"].place(tuple(row[name] for name in _LICENCE)) for row in chunk]
        columns["categories"] = [[dictionaries["category"].place(name) for name in row["categories"]] for row in chunk]
        for name in SHOWN:
            of_score = [bound.limit for bound in bounds if bound.score == name]
            columns[name] = [rounded(row[name], of_score) for row in chunk]
        files[f"page/data-{number:03d}.js"] = call("rows", {"first": first, "columns": columns})
        details = {name: [_plain(row[name]) for row in chunk] for name in chunk[0] if name not in _GALLERY}
        files[f"page/details-{number:03d}.js"] = call("details", {"chunk": number, "columns": details})
    return files, {name: dictionary.values() for name, dictionary in dictionaries.items()}


def rounded(score: float | None, bounds: Sequence[float]) -> float | None:
    """A score to `DIGITS` significant digits; exact where rounding would move it onto or over one of the bounds.

    Returns: None if it is none or no finite number.
    """
    if score is None or not math.isfinite(score):
        return None
    short = float(f"{score:.{DIGITS}g}")
    is_same_side = all((short > bound) - (short < bound) == (score > bound) - (score < bound) for bound in bounds)
    return short if is_same_side and math.isfinite(short) else score  # the largest numbers round to infinity


def call(function: str, value: Any) -> bytes:
    """A script that calls a function of the page with a value."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    safe = text.replace("<", "\\u003c")
    return f"sodPage.{function}({safe});\n".encode("ascii")


def _plain(value: Any) -> Any:
    """Columns of later manifests may have numbers that JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
