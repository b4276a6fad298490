"""Read a table of addresses whole, but for columns that are not needed. `addresses.py` finds the images."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pipeline.collection.columns import license_columns, license_texts, text_batches, text_columns
from pipeline.collection.config import InputConfig
from pipeline.collection.parquet import require_plausible
from pipeline.collection.rows import NAME_COLUMNS, chosen, in_words
from pipeline.collection.table_files import TableFile
from pipeline.collection.telling import LONGEST_TEXT, said_in, telling
from pipeline.errors import CollectionError
from pipeline.files.parquet_streams import TornParquetError, open_parquet
from pipeline.files.text_tables import Row, TextTableError, read_table

ADDRESS_COLUMNS = (
    "url", "image_url", "img_url", "uri", "image_uri", "address", "originalurl", "original_url", "coco_url",
    "flickr_url", "path", "image_path", "img_path", "filepath", "file_path", "file_name", "filename", "image", "img",
)  # fmt: skip
"""Columns that are taken for addresses, whatever their capitals, the first that is there. OriginalURL: Open Images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressTable:
    """One table: where it lies, and what its rows say."""

    name: str
    path: str
    folder: str
    """The folder that paths are relative to; a path or URL."""
    column: str
    addresses: Sequence[str]
    names: Sequence[str]
    """What a column calls each row; empty without such a column."""
    about: Mapping[str, Sequence[str]]
    """Field of `About` → what each row says."""


def read_address_table(file: TableFile, inputs: InputConfig, where: str) -> AddressTable:
    """Read one table.

    Args:   where: names the file in messages.
    Raises: CollectionError: it is no table, or has no column of addresses.
    """
    try:
        return (_read_parquet if file.is_parquet else _read_text)(file, inputs, where)
    except (TextTableError, TornParquetError) as error:
        raise CollectionError(f"{where}: not a table that can be read: {error}") from error


def _read_text(file: TableFile, inputs: InputConfig, where: str) -> AddressTable:
    columns, rows = read_table(file.path)
    address, by, told = _chosen(columns, inputs, where)
    addresses, names = [], []
    about: dict[str, list[str]] = {field: [] for field in told}
    known: dict[str, str] = {}
    for row in rows:
        addresses.append(_cell(row, address).strip())
        if by:
            names.append(_cell(row, by))
        for field, of_field in told.items():
            said = said_in(row, field, of_field) if field == "license" else _cell(row, of_field[0])[:LONGEST_TEXT]
            about[field].append(known.setdefault(said, said))
    return AddressTable(
        name=file.name,
        path=file.path,
        folder=posixpath.dirname(file.path),
        column=address,
        addresses=addresses,
        names=names,
        about=about,
    )


def _cell(row: Row, column: str) -> str:
    value = row.get(column, "")
    return value if isinstance(value, str) else ""


def _read_parquet(file: TableFile, inputs: InputConfig, where: str) -> AddressTable:
    opened = open_parquet(file.path)
    require_plausible(opened.metadata, where, file)
    address, by, told = _chosen(text_columns(opened.schema), inputs, where, license_columns(opened.schema))
    columns = dict.fromkeys(column for column in (address, by, *chain.from_iterable(told.values())) if column)
    read: dict[str, list[str]] = {column: [] for column in columns}
    licenses: list[str] = []
    for batch in text_batches(opened, list(read)):
        licenses += license_texts(batch, told["license"]).to_pylist() if "license" in told else []
        for column, texts in batch.items():
            read[column] += [text or "" for text in texts.to_pylist()]
    return AddressTable(
        name=file.name,
        path=file.path,
        folder=posixpath.dirname(file.path),
        column=address,
        addresses=[text.strip() for text in read[address]],
        names=read.get(by, []),
        about={
            field: licenses if field == "license" else [text[:LONGEST_TEXT] for text in read[of_field[0]]]
            for field, of_field in told.items()
        },
    )


def _chosen(
    columns: Sequence[str], inputs: InputConfig, where: str, others: Sequence[str] = ()
) -> tuple[str, str, dict[str, list[str]]]:
    """The columns of addresses and of names, the latter "" if there is none, and what else is told by which.

    Args: others: columns that tell a licence, and are neither.
    """
    address = chosen(columns, inputs.address_column, ADDRESS_COLUMNS, "address-column", where)
    if not address:
        raise CollectionError(
            f"{where}: no column of addresses among {in_words(columns)}; the first row must have the names of the "
            "columns. Name the one with paths or URLs, --address-column NAME"
        )
    by = chosen(
        [column for column in columns if column != address], inputs.name_column, NAME_COLUMNS, "name-column", where
    )
    return address, by, telling([*columns, *others], taken=(address, by))
