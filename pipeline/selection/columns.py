"""Columns that score passes add to those of `SCORE_TABLE`, and the table that has both. Pure.

A run and a release say themselves which columns their passes have added, so whoever reads them needs no code of a pass.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from pipeline.selection.scores import SCORE_TABLE, Score, Worse

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LONGEST_MEANING = 400
_LONGEST_VECTOR = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A column of texts: what a pass has found that is no number."""

    name: str
    meaning: str
    """What it is, in the words of manifest, card and Croissant."""
    of_pass: str = ""
    """The score pass that has added it."""
    is_mask: bool = False
    """Each text is a mask at the image's own size, as COCO run lengths: {"size": [height, width], "counts": …}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A column of vectors, for other passes to build on; neither manifests nor policies have it."""

    name: str
    meaning: str
    length: int
    """Numbers in each vector: integers from -32768 to 32767, stored in two bytes each, the lower one first."""
    of_pass: str = ""
    """The score pass that has added it."""


Column = Score | Text | Vector
ScoreTable = Mapping[str, Score]
"""Name → score: `SCORE_TABLE`, or that and the scores of passes."""


def scores_of(columns: Iterable[Column]) -> list[Score]:
    """The columns that are numbers."""
    return [column for column in columns if isinstance(column, Score)]


def table_with(columns: Iterable[Column]) -> dict[str, Score]:
    """`SCORE_TABLE`, followed by the scores among these columns."""
    return {**SCORE_TABLE, **{score.name: score for score in scores_of(columns)}}


def owned(columns: Sequence[Column], of_pass: str) -> tuple[Column, ...]:
    """The columns of a pass, with its name in each.

    Raises: ValueError: a name or a range can't be one; names the column.
    """
    for column in columns:
        if not _NAME.fullmatch(column.name):
            raise ValueError(f"column {column.name!r}: a name is lower-case letters, digits and _, at most 40 of them")
        if not column.meaning or len(column.meaning) > _LONGEST_MEANING or not column.meaning.isprintable():
            raise ValueError(
                f"column {column.name}: its meaning must be one line of at most {_LONGEST_MEANING} characters"
            )
        if isinstance(column, Score):
            if not (math.isfinite(column.lowest) and math.isfinite(column.highest) and column.lowest < column.highest):
                raise ValueError(f"score {column.name}: its range is {column.lowest} to {column.highest}")
            if column.measure:
                raise ValueError(f"score {column.name}: a pass measures its scores itself; leave `measure` out")
        if isinstance(column, Vector) and not 1 <= column.length <= _LONGEST_VECTOR:
            raise ValueError(f"vector {column.name}: its length is {column.length}; give 1 to {_LONGEST_VECTOR}")
    if len({column.name for column in columns}) != len(columns):
        raise ValueError(f"two columns have one name: {', '.join(column.name for column in columns)}")
    return tuple(replace(column, of_pass=of_pass) for column in columns)


def stored_columns(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Columns of passes as JSON has them."""
    return [
        {"name": column.name, "meaning": column.meaning, "of_pass": column.of_pass} | _of_kind(column)
        for column in columns
    ]


def _of_kind(column: Column) -> dict[str, Any]:
    """The fields that only columns of its kind have."""
    if isinstance(column, Vector):
        return {"length": column.length}
    if isinstance(column, Text):
        return {"is_mask": column.is_mask}
    return {
        "lowest": column.lowest,
        "highest": column.highest,
        "worse_when": column.worse_when,
        "rankable": column.rankable,
    }


def columns_from(stored: Any) -> tuple[Column, ...]:
    """Read what `stored_columns` wrote; nothing in it is believed before it is checked.

    Raises: ValueError, TypeError, KeyError: it is not that.
    """
    columns: list[Column] = []
    for entry in stored:
        kind: type[Column] = Score if "worse_when" in entry else Vector if "length" in entry else Text
        column = kind(**{name: entry[name] for name in entry})
        if isinstance(column, Score):
            numbers = (column.lowest, column.highest)
            if column.worse_when not in get_args(Worse) or not all(type(number) in (int, float) for number in numbers):
                raise ValueError(f"{entry!r} is no score")
            if type(column.rankable) is not bool:
                raise ValueError(f"{entry!r}: rankable is {column.rankable!r}")
        elif isinstance(column, Vector):
            if type(column.length) is not int:
                raise ValueError(f"{entry!r}: length is {column.length!r}")
        elif type(column.is_mask) is not bool:
            raise ValueError(f"{entry!r}: is_mask is {column.is_mask!r}")
        if not all(isinstance(text, str) for text in (column.name, column.meaning, column.of_pass)):
            raise ValueError(f"{entry!r} is no column")
        columns += owned([column], column.of_pass)
    if len({column.name for column in columns}) != len(columns):
        raise ValueError("a column is there twice")
    return tuple(columns)
