"""What img2dataset writes about an image: a row of the parquet beside each tar, and a `KEY.json` in it.

Licence, author and the address that the image was fetched from are taken over where a column has them. The `sha256` is
not compared: it is of the file as it was fetched, which img2dataset usually encodes again.
"""

from collections.abc import Mapping
from typing import Any

from model.documents import parse_json
from pipeline.collection.collection import About
from pipeline.collection.places import CANNOT_OPEN, Place
from pipeline.errors import CollectionError
from pipeline.files.bounded import TooLargeError, read_at_most

_LICENSE, _AUTHOR, _SOURCE = ("license", "licence"), ("author", "creator"), ("url",)
_MOST_BYTES = 1 << 30
_LONGEST = 2_000
"""Characters of a text that are taken over: addresses are seldom longer, and one is kept for each image."""


def about_in(values: Mapping[str, Any]) -> About:
    """What columns or JSON keys of these names say, in capital or small letters."""
    known = {name.lower(): value for name, value in values.items() if isinstance(value, str)}

    def first(names: tuple[str, ...]) -> str:
        return next((known[name][:_LONGEST] for name in names if known.get(name)), "")

    return About(license=first(_LICENSE), author=first(_AUTHOR), source=first(_SOURCE))


def about_in_json(content: bytes) -> About:
    """The same of a `KEY.json`; nothing if it is none, or is of another tool."""
    try:
        values = parse_json(content, finite=False)
    except ValueError:
        return About()
    return about_in(values) if isinstance(values, dict) else About()


def about_beside(place: Place, path: str) -> dict[str, About]:
    """Key → what the parquet of a tar says of the image; empty if there is none, or it has no column `key`.

    Raises: CollectionError: the file is there and can't be read.
    """
    import pyarrow as pa

    from pipeline.files.parquet import read_parquet

    try:
        table = read_parquet(read_at_most(place.fs, path, _MOST_BYTES))
    except FileNotFoundError:
        return {}
    except (pa.ArrowInvalid, TooLargeError, *CANNOT_OPEN) as error:
        raise CollectionError(
            f"{place.named()}: {path.rsplit('/', 1)[-1]}, which describes the tar beside it, can't be read ({error}); "
            "fetch it again, or remove it to go without licences and sources"
        ) from error
    wanted = {"key", *_LICENSE, *_AUTHOR, *_SOURCE}
    table = table.select([number for number, name in enumerate(table.column_names) if name.lower() in wanted])
    if "key" not in table.column_names:
        return {}
    return {str(row.pop("key")): about_in(row) for row in table.to_pylist()}
