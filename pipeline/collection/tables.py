"""Images in tables: parquet with their bytes, or a table of their addresses; told apart by what is there."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from pipeline.collection.address_tables import ADDRESS_COLUMNS
from pipeline.collection.addresses import Addresses, open_addresses
from pipeline.collection.columns import has_no_bytes, image_column, text_columns
from pipeline.collection.config import InputConfig
from pipeline.collection.parquet import ParquetRows, open_rows
from pipeline.collection.places import PATTERN, Place
from pipeline.collection.rows import chosen, in_words
from pipeline.collection.table_files import TableFile, is_parquet, own_file, parquet_files
from pipeline.errors import CollectionError
from pipeline.files.parquet_streams import TornParquetError, open_parquet
from pipeline.files.text_tables import is_named_like_a_table
from pipeline.shown import shown


def is_table(place: Place) -> bool:
    """Is it a table, or a pattern or folder of parquet files?

    Parquet with addresses that lies among images or archives is about these, and makes their folder no table.
    """
    if place.type == "file":
        return is_named_like_a_table(place.path) or is_parquet(place)
    if place.type not in ("directory", PATTERN) or "::" in place.given:
        return False
    files, has_others = parquet_files(place)
    if not files or not has_others:
        return bool(files)
    try:
        return image_column(open_parquet(files[0].path).schema, "", files[0].path) is not None
    except TornParquetError:
        return False
    except CollectionError:  # several columns have images; opening it says so
        return True


def open_table(place: Place, wanted: Collection[str], inputs: InputConfig) -> ParquetRows | Addresses:
    """List the images of a table, or of the parquet files in a folder.

    Args:   wanted: names that will be requested; none: all.
    Raises: CollectionError: it is torn, or has no images and no addresses in a column that is known or named.
    """
    if place.type == "file" and not is_parquet(place):
        return open_addresses([replace(own_file(place), is_parquet=False)], wanted, inputs)
    files, _ = parquet_files(place)
    where = f"images {shown(files[0].path)!r}"
    try:
        return _open_parquet(files, wanted, inputs, where)
    except TornParquetError as error:
        raise CollectionError(f"{where}: not a whole parquet file ({error}); copy or download it again") from error


def _open_parquet(
    files: Sequence[TableFile], wanted: Collection[str], inputs: InputConfig, where: str
) -> ParquetRows | Addresses:
    """The first file tells what all of them hold."""
    opened = open_parquet(files[0].path)
    images = None if inputs.address_column else image_column(opened.schema, inputs.image_column, where)
    if images is not None and not has_no_bytes(opened, images):
        return open_rows(files, wanted, inputs)
    if images is not None and images.paths:  # what `datasets` writes of files that it was not told to embed
        return open_addresses(files, wanted, replace(inputs, address_column=images.paths))
    if not chosen(text_columns(opened.schema), inputs.address_column, ADDRESS_COLUMNS, "address-column", where):
        raise CollectionError(
            f"{where}: no column of images or of their addresses among {in_words(opened.schema.names)}; name it with "
            "--image-column or --address-column"
        )
    return open_addresses(files, wanted, inputs)
