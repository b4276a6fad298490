"""Names of images that are rows of tables: from a column, or from the row's number.

A name never changes because a collection grows at its end: of rows with one name, the first keeps it, and the others
get the name of their table in front. The number of a row has leading zeros, so names are in the order of the rows.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

from pipeline.collection.names import NameIndex, ambiguous, index_names, safe_name
from pipeline.errors import CollectionError, SampleError

NAME_COLUMNS = (
    "file_name", "filename", "path", "filepath", "file_path", "image_path", "image_name", "__key__", "key", "image_id",
    "id",
)  # fmt: skip
"""Columns that are taken for names, the first that is there. `__key__` is webdataset's."""
_LONGEST_TABLE_NAME = 40
"""Keys are cut at 60 characters, and must not lose the number of a row: rows are read in the order of keys."""
_LONGEST_NAME = 1000


class RowNames:
    """The names of the rows of all tables of a collection, in the order in which they are added.

    Args: wanted: names that will be requested; none means all. A name that several rows have is then ambiguous.
    """

    def __init__(self, wanted: Collection[str] = ()) -> None:
        self.rows: dict[str, int] = {}
        """Name → number of the row, counted through all tables."""
        self._wanted = wanted
        self._doubles: dict[str, list[str]] = {}
        """Name that several rows say they have → the names that these got."""

    def add(self, table: str, rows: Iterable[str | None]) -> None:
        """Name the rows of one table.

        Args: table: its name, unique among the tables. rows: what each row says it is called; a name that may lead out
                     of its folder counts as none.
        """
        table = short_table_name(table)
        for number, said in enumerate(rows):
            plain = _usable(said)
            name = self._free_name(table, number, plain)
            if plain and name != plain:
                self._doubles.setdefault(plain, [plain]).append(name)
            self.rows[name] = len(self.rows)

    def find(self, file_name: str) -> int:
        """The row of an image by its name, or by what `names.index_names` knows it by.

        Raises: SampleError: `missing`; `unreadable`: ambiguous; `unsafe_path`.
        """
        name = self._index.find(file_name)
        if self._wanted and name in self._doubles:
            raise ambiguous(file_name, "rows", self._doubles[name])
        return self.rows[name]

    @cached_property
    def _index(self) -> NameIndex:
        return index_names(self.rows, self._wanted, what="names of rows")

    def _free_name(self, table: str, number: int, plain: str) -> str:
        named: tuple[str, ...] = (plain, f"{table}/{plain}") if plain else ()
        for name in (*named, f"{table}/{number:09d}"):
            if name not in self.rows:
                return name
        again = 2
        while f"{table}/{number:09d}-{again}" in self.rows:
            again += 1
        return f"{table}/{number:09d}-{again}"


def short_table_name(table: str) -> str:
    """The name of a table as part of its rows' names."""
    if len(table) <= _LONGEST_TABLE_NAME:
        return table
    return f"{table[: _LONGEST_TABLE_NAME - 9]}-{hashlib.sha256(table.encode()).hexdigest()[:8]}"


def chosen(columns: Sequence[str], given: str, familiar: Sequence[str], option: str, where: str) -> str:
    """The column that an option names, or else the first familiar one that is there; "" if there is none.

    Raises: CollectionError: the column that the option names is not there.
    """
    if given:
        if given not in columns:
            raise CollectionError(f"{where}: it has no column {given!r}; --{option} must be one of {in_words(columns)}")
        return given
    lower: dict[str, str] = {}
    for column in columns:
        lower.setdefault(column.lower(), column)
    return next((lower[name.lower()] for name in familiar if name.lower() in lower), "")


def in_words(columns: Sequence[str]) -> str:
    """The names of columns for a message."""
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return ", ".join(repr(column[:60]) for column in columns[:20]) + more or "(none)"


def _usable(said: str | None) -> str:
    if not said or len(said) > _LONGEST_NAME or not said.isprintable():
        return ""
    try:
        return safe_name(said)
    except SampleError:
        return ""
