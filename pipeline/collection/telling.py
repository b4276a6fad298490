"""Columns and keys that tell licence, author and source of an image, by the names that tools and sites give them.

One list for parquet, tables of addresses, `--metadata`, and what img2dataset writes beside its tars. Names are compared
without capitals, spaces and other signs, so `OriginalLandingURL` is `original_landing_url`.

What a cell says of a licence stays a text until the licences of annotations are known: digits may be one of their ids.
"""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.collection.collection import About
from pipeline.collection.license_names import is_name
from pipeline.collection.spelled_numbers import whole_number

_NAMES: Mapping[str, Sequence[str]] = {
    "license": (
        "license", "licence", "license_url", "licence_url", "license_name", "licence_name", "rights", "license_id",
        "licence_id",
    ),
    "author": ("author", "creator", "photographer", "artist", "owner", "credit", "attribution"),
    "source": (
        "source", "source_url", "landing_page", "page_url", "original_landing_url", "foreign_landing_url",
        "original_url", "url",
    ),
}  # fmt: skip
LONGEST_TEXT = 2000
"""Characters that are taken over: addresses are seldom longer, and one is kept for each image."""


def plain(header: str) -> str:
    """The name of a column as names are compared."""
    return "".join(letter for letter in header.lower() if letter.isalnum())


_PLAIN = {field: tuple(map(plain, names)) for field, names in _NAMES.items()}


def telling(columns: Iterable[str], taken: Sequence[str] = ()) -> dict[str, list[str]]:
    """Field of `About` → the columns that tell it, the likeliest first; without fields that none tells.

    Args: taken: columns that mean something else.
    """
    by_name: dict[str, str] = {}
    for column in columns:
        if column not in taken:
            by_name.setdefault(plain(column), column)
    found = {field: [by_name[name] for name in names if name in by_name] for field, names in _PLAIN.items()}
    return {field: columns for field, columns in found.items() if columns}


def about_in(row: Mapping[str, object], columns: Mapping[str, Sequence[str]]) -> About:
    """What a row says of its image."""
    return about_of({field: said_in(row, field, names) for field, names in columns.items()})


def said_in(row: Mapping[str, object], field: str, columns: Sequence[str]) -> str:
    """What the first of some columns that says anything says; a licence's name or address goes before its id."""
    if field != "license":
        return next((text for name in columns if (text := _text(row.get(name)))), "")
    said = [text for name in columns if (text := license_text(row.get(name)))]
    return next(filter(is_name, said), said[0] if said else "")


def license_text(value: object) -> str:
    """What a cell says of a licence: its text, the only one of a list, or a value that is no name as it is shown."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == [] or str(value).strip().lower() == "nan":  # what pandas writes where nothing is
        return ""
    if isinstance(value, str):
        return _text(value)
    number = whole_number(value)
    return str(value if number is None else number)[:LONGEST_TEXT]


def about_of(said: Mapping[str, str]) -> About:
    """The same, from what each field is said to be."""
    return About(license=said.get("license", ""), author=said.get("author", ""), source=said.get("source", ""))


def _text(value: object) -> str:
    return value.strip()[:LONGEST_TEXT] if isinstance(value, str) else ""
