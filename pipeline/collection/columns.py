"""The columns of a parquet file: which has images, and what others say as texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.collection.rows import in_words
from pipeline.collection.telling import license_text, said_in, telling
from pipeline.errors import CollectionError
from pipeline.files.parquet_streams import OpenParquet, TornParquetError

_FAMILIAR = (
    "image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "img_bytes", "content", "picture", "photo",
    "data",
)  # fmt: skip
LONGEST_CELL = 8000
"""Characters of a name or an address that are read, and one more that shows it to be longer."""
_TEXT_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageColumn:
    """The column that has the images."""

    name: str
    """In the table."""
    cells: str
    """Path of the column of binary values: the same, or the field `bytes` of a struct."""
    paths: str
    """Path of the column of the images' own paths; "" if there is none."""


def image_column(schema: pa.Schema, given: str, where: str) -> ImageColumn | None:
    """The column with images: the one that is named, or told by its type and name; None if there is none.

    Args:   given: the option --image-column, or "". where: names the file in messages.
    Raises: CollectionError: the named one is not there or has no images; several could be meant.
    """
    columns = {field.name: column for field in schema if (column := _images_of(field)) is not None}
    if given:
        if given not in schema.names:
            raise CollectionError(
                f"{where}: no column {given!r}; --image-column must be one of {in_words(schema.names)}"
            )
        if given not in columns:
            raise CollectionError(
                f"{where}: column {given!r} is {str(schema.field(given).type)[:100]}; --image-column must name binary "
                "values, or a struct with a field `bytes` of them"
            )
        return columns[given]
    familiar = [columns[name] for name in columns if name.lower() in _FAMILIAR]
    structs = [column for column in columns.values() if column.cells != column.name]
    found = familiar or structs
    if len(found) > 1:
        raise CollectionError(
            f"{where}: {len(found)} columns may be the images: {in_words([column.name for column in found])}. Give the "
            f"right one, --image-column {found[0].name}"
        )
    return found[0] if found else None


def has_no_bytes(opened: OpenParquet, column: ImageColumn) -> bool:
    """Does a file say that all its images are null?"""
    about = opened.metadata
    groups = range(about.num_row_groups)
    return bool(groups) and all(
        opened.nulls(group, column.cells) == about.row_group(group).num_rows for group in groups
    )


def text_columns(schema: pa.Schema) -> list[str]:
    """Paths of the columns of texts: also of those in structs, one level deep."""
    fields = [(field.name, field.type) for field in schema]
    structs = [(name, kind) for name, kind in fields if pa.types.is_struct(kind)]
    fields += [(f"{name}.{part.name}", part.type) for name, kind in structs for part in kind]
    return [name for name, kind in fields if is_text(kind)]


def license_columns(schema: pa.Schema) -> list[str]:
    """Columns that tell a licence by what is no text: ids, and lists of texts."""
    named = telling(schema.names).get("license", ())
    return [field.name for field in schema if field.name in named and (_is_number(field.type) or _is_list(field.type))]


def text_batches(opened: OpenParquet, columns: list[str]) -> Iterator[dict[str, pa.Array]]:
    """Columns of texts, numbers or lists, by their paths, as texts of at most `LONGEST_CELL` + 1 characters."""
    for group in range(opened.metadata.num_row_groups if columns else 0):
        for batch in opened.batches([_leaf(opened, path) for path in columns], group, _TEXT_ROWS):
            yield {path: _as_texts(batch, path) for path in columns}


def license_texts(batch: Mapping[str, pa.Array], columns: Sequence[str]) -> pa.Array:
    """What the rows of a batch of texts say of their licence."""
    rows = zip(*(batch[column].to_pylist() for column in columns), strict=True)
    return pa.array([said_in(dict(zip(columns, row, strict=True)), "license", columns) for row in rows], pa.string())


def _leaf(opened: OpenParquet, column: str) -> str:
    """The path of the values themselves: those of a list lie below its column."""
    schema = opened.metadata.schema
    paths = (schema.column(number).path for number in range(len(schema)))
    return next((path for path in paths if path == column or path.startswith(f"{column}.")), column)


def _as_texts(batch: pa.RecordBatch, path: str) -> pa.Array:
    name = next(name for name in batch.schema.names if path == name or path.startswith(f"{name}."))
    cells = batch.column(name)
    for field in path.removeprefix(name).split(".")[1:]:
        cells = pc.struct_field(cells, [field])
    if _is_list(cells.type):
        return pa.array([license_text(value)[: LONGEST_CELL + 1] for value in cells.to_pylist()], pa.string())
    try:
        return pc.utf8_slice_codeunits(cells.cast(pa.string()), 0, LONGEST_CELL + 1)
    except pa.ArrowInvalid as error:
        raise TornParquetError(f"column {path!r} has a text that is not UTF-8") from error


def _images_of(field: pa.Field) -> ImageColumn | None:
    """The field as a column of images, if it can be one."""
    if _is_binary(field.type):
        return ImageColumn(name=field.name, cells=field.name, paths="")
    if not pa.types.is_struct(field.type):
        return None
    parts = {part.name: part.type for part in field.type}
    if "bytes" not in parts or not _is_binary(parts["bytes"]):
        return None
    paths = f"{field.name}.path" if "path" in parts and is_text(parts["path"]) else ""
    return ImageColumn(name=field.name, cells=f"{field.name}.bytes", paths=paths)


def _is_binary(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text(kind: pa.DataType) -> bool:
    """Is it a type of texts?"""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
