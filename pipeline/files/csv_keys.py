"""How a key is written in the CSV files of a release: with a prefix that no program takes for a number.

CSV has no types. pandas, Polars, Excel and others read `000000000139` as the number 139, in quotes or not, which is no
key. `image_id` is a number in all files.
"""

PREFIX = "key-"


def key_in_csv(key: str) -> str:
    """The key as CSV files have it."""
    return PREFIX + key


def key_from_csv(text: str) -> str:
    """The key that a CSV file has.

    Raises: ValueError: it has no prefix.
    """
    if not text.startswith(PREFIX):
        raise ValueError(f"the key {text[:40]!r} does not begin with {PREFIX}")
    return text.removeprefix(PREFIX)
