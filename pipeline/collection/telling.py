"""Columns and keys that tell licence, author and source of an image, by the names that tools and sites give them.

One list for parquet, tables of addresses, `--metadata`, and what img2dataset writes beside its tars. Names are compared
without capitals, spaces and other signs, so `OriginalLandingURL` is `original_landing_url`.
"""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.collection.collection import About

_NAMES: Mapping[str, Sequence[str]] = {
    "license": ("license", "licence", "license_url", "licence_url", "license_name", "licence_name", "rights"),
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
    """What a row says of its image: of each field, the first of its columns that says anything."""
    return about_of(
        {
            field: next((text for name in names if (text := _text(row.get(name)))), "")
            for field, names in columns.items()
        }
    )


def about_of(said: Mapping[str, str]) -> About:
    """The same, from what each field is said to be."""
    return About(license=said.get("license", ""), author=said.get("author", ""), source=said.get("source", ""))


def _text(value: object) -> str:
    return value.strip()[:LONGEST_TEXT] if isinstance(value, str) else ""
