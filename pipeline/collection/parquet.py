"""Images in parquet, one a row: the `Image` of Hugging Face's libraries, {bytes, path}, or plain binary values.

All files of a place are one collection. Names come from the image's own path, a column, or the number of the row
(`rows.py`). Only footers and the columns of names are read before a run; rows are read by `files/cells.py`.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, chain

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.collection.collection import About
from pipeline.collection.columns import image_column, is_text, license_columns, license_texts, text_batches
from pipeline.collection.config import InputConfig
from pipeline.collection.rows import NAME_COLUMNS, RowNames, chosen, in_words
from pipeline.collection.table_files import TableFile
from pipeline.collection.telling import LONGEST_TEXT, about_of, telling
from pipeline.errors import CollectionError, SampleError
from pipeline.files import urls
from pipeline.files.cells import MOST_STREAMS, Cell, forget, read_cell
from pipeline.files.parquet_streams import TornParquetError, open_parquet
from pipeline.records import Location, Sample
from pipeline.shown import shown

_FREE_ROWS = 250_000
_BYTES_PER_ROW = 4
"""A file may claim a row for so many of its bytes, beyond the free ones: repeated images take next to nothing."""
_MOST_COLUMNS = 10_000
_OFTEN = 3
"""How many times as often as necessary row groups may be decoded before somebody is told."""
_THREADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """What is known of one file without its images."""

    name: str
    path: str
    cells: str
    """Path of the column that has the images."""
    group_ends: tuple[int, ...]
    """The number of rows up to the end of each row group."""
    about: Mapping[str, pa.ChunkedArray]
    """Field of `About` → what the rows say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetRows:
    """Images that are rows of parquet files."""

    tables: Sequence[_Table]
    table_ends: tuple[int, ...]
    names_of_rows: RowNames
    holds_images_only = True

    @property
    def found(self) -> str:
        """As `ImageStore.found`."""
        columns = in_words(sorted({table.cells for table in self.tables}))
        return f"{len(self.names_of_rows.rows)} rows of {len(self.tables)} parquet files, with images in {columns}"

    def names(self) -> Iterable[str]:
        """As `ImageStore.names`."""
        return self.names_of_rows.rows.keys()

    def locate(self, file_name: str) -> Location:
        """As `ImageStore.locate`."""
        table, row = self._row(self.names_of_rows.find(file_name))
        group = bisect_right(table.group_ends, row)
        start = table.group_ends[group - 1] if group else 0
        return Location(path=table.path, reader="parquet", place=(group, row - start), part=table.cells)

    def about(self, name: str) -> About:
        """As `ImageStore.about`: what other columns say."""
        table, row = self._row(self.names_of_rows.rows[name])
        said = {field: column[row].as_py() for field, column in table.about.items()}
        texts = {field: str(value)[:LONGEST_TEXT] for field, value in said.items() if value is not None}
        return about_of(texts)

    def _row(self, number: int) -> tuple[_Table, int]:
        at = bisect_right(self.table_ends, number)
        return self.tables[at], number - (self.table_ends[at - 1] if at else 0)


def open_rows(files: Sequence[TableFile], wanted: Collection[str], inputs: InputConfig) -> ParquetRows:
    """Read the names of all rows of some parquet files.

    Args:   files: at least one, in the order of their names.
    Raises: CollectionError: one is torn, or has no images in a column like that of the first.
    """
    forget()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="footer") as pool:
        found = list(pool.map(lambda file: _read(file, inputs), files))
    names = RowNames(wanted)
    tables: list[_Table] = []
    for table, said in found:
        names.add(table.name, said)
        tables.append(table)
    return ParquetRows(
        tables=tables,
        table_ends=tuple(accumulate(table.group_ends[-1] if table.group_ends else 0 for table in tables)),
        names_of_rows=names,
    )


def order_in_words(samples: Iterable[Sample]) -> str:
    """A warning if rows are read in an order that has their row groups decoded several times; "" if not.

    Args: samples: in the order of their keys, which is that of reading.
    """
    last: OrderedDict[tuple[str, int], None] = OrderedDict()
    groups: set[tuple[str, int]] = set()
    decoded = 0
    for sample in samples:
        if sample.location is None or sample.location.reader != "parquet":
            continue
        group = (sample.location.path, sample.location.place[0])
        groups.add(group)
        decoded += group not in last
        last[group] = None
        last.move_to_end(group)
        if len(last) > MOST_STREAMS:
            last.popitem(last=False)
    if decoded <= _OFTEN * len(groups):
        return ""
    return (
        "images are read in the order of their keys, which is not that of the rows: row groups are decoded "
        f"{decoded:,} times instead of {len(groups):,}. Sort the rows by the names of their images, or write small row "
        "groups"
    )


def read_row(location: Location, label: str, max_bytes: int, first: int | None = None) -> bytes:
    """Read the image of a row. As the readers of `stores.READERS`."""
    group, row = location.place
    try:
        content = read_cell(Cell(file=location.path, column=location.part, group=group, row=row))
    except TornParquetError as error:
        where = f"{label}: row {row} of row group {group}"
        raise SampleError("unreadable", f"{where}: {error}; has the file changed?") from error
    except FileNotFoundError as error:
        if urls.is_local(location.path):
            raise  # the whole table has disappeared, unmounted perhaps: that says nothing about one image
        raise SampleError("missing", f"{label}: its table has disappeared since the collection was listed") from error
    if content is None:
        raise SampleError("unreadable", f"{label}: row {row} of row group {group} has no bytes, but null")
    if first is None and content.size > max_bytes:
        raise SampleError("too_many_bytes", f"{label}: {content.size} bytes; the limit is {max_bytes}")
    return bytes(content if first is None else content.slice(0, min(first, content.size)))


def _read(file: TableFile, inputs: InputConfig) -> tuple[_Table, list[str | None]]:
    """What a file holds, and what its rows say they are called."""
    where = f"images {shown(file.path)!r}"
    try:
        opened = open_parquet(file.path)
        about, schema = opened.metadata, opened.schema
        require_plausible(about, where, file)
        column = image_column(schema, inputs.image_column, where)
        if column is None:
            raise CollectionError(f"{where}: no column of images among {in_words(schema.names)}; give --image-column")
        texts = [field.name for field in schema if is_text(field.type)]
        numbers = [field.name for field in schema if pa.types.is_integer(field.type)]
        by = chosen([*texts, *numbers], inputs.name_column, NAME_COLUMNS, "name-column", where)
        telling_columns = telling([*texts, *license_columns(schema)], taken=(by,))
        naming = [path for path in ("" if inputs.name_column else column.paths, by) if path]
        batches = list(
            text_batches(opened, list(dict.fromkeys([*naming, *chain.from_iterable(telling_columns.values())])))
        )
    except TornParquetError as error:
        raise CollectionError(f"{where}: not a whole parquet file ({error}); copy or download it again") from error
    ends = tuple(accumulate(about.row_group(number).num_rows for number in range(about.num_row_groups)))
    rows = ends[-1] if ends else 0
    names: list[str | None] = [None] * rows
    if naming:
        names = [next(filter(None, said), None) for said in _rows(batches, naming)]
    if len(names) != rows:
        raise CollectionError(f"{where}: {len(names)} rows instead of the {rows} that its footer claims; copy it again")
    columns = {
        field: pa.chunked_array(
            [license_texts(batch, told) if field == "license" else batch[told[0]] for batch in batches], pa.string()
        )
        for field, told in telling_columns.items()
    }
    return _Table(name=file.name, path=file.path, cells=column.cells, group_ends=ends, about=columns), names


def _rows(batches: Iterable[Mapping[str, pa.Array]], columns: Sequence[str]) -> Iterator[tuple[str | None, ...]]:
    for batch in batches:
        yield from zip(*(batch[column].to_pylist() for column in columns), strict=True)


def require_plausible(about: pq.FileMetaData, where: str, file: TableFile) -> None:
    """Look at what a file claims to hold before it is read.

    Raises: CollectionError: it claims more rows or columns than files have.
    """
    fs, path = urls.resolve(file.path, chained=True)
    file_bytes = fs.size(path) or 0
    most_rows = _FREE_ROWS + file_bytes // _BYTES_PER_ROW
    rows = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
    if sum(rows) > most_rows or min(rows, default=0) < 0 or about.num_columns > _MOST_COLUMNS:
        raise CollectionError(
            f"{where}: {file_bytes:,} bytes of parquet claim {sum(rows):,} rows of {about.num_columns:,} columns; at "
            f"most {most_rows:,} rows of {_MOST_COLUMNS:,} columns are read"
        )
