"""What img2dataset writes about an image: a row of the parquet beside each tar, and a `KEY.json` in it.

Licence, author and the address that the image was fetched from are taken over where a column has them. The `sha256` is
not compared: it is of the file as it was fetched, which img2dataset usually encodes again.
"""

from model.documents import parse_json
from pipeline.collection.collection import About
from pipeline.collection.places import CANNOT_OPEN, Place
from pipeline.collection.telling import about_in, telling
from pipeline.errors import CollectionError
from pipeline.files.bounded import TooLargeError, read_at_most

_MOST_BYTES = 1 << 30


def about_in_json(content: bytes) -> About:
    """The same of a `KEY.json`; nothing if it is none, or is of another tool."""
    try:
        values = parse_json(content, finite=False)
    except ValueError:
        return About()
    return about_in(values, telling(values)) if isinstance(values, dict) else About()


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
    if "key" not in table.column_names:
        return {}
    columns = telling(table.column_names, taken=("key",))
    table = table.select(["key", *dict.fromkeys(name for names in columns.values() for name in names)])
    return {str(row["key"]): about_in(row, columns) for row in table.to_pylist()}
