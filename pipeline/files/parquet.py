"""Read parquet from bytes, within bounds: a few bytes of it can stand for millions of rows.

pyarrow gives a page as much memory as its header asks for, whatever the footer says. So the headers are read before the
pages are: Thrift's compact protocol, which has at most one struct in a struct there, and no list.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

_FREE_BYTES = 64 << 20  # 64 MiB: however small the file, its table may take as much
_EXPANSION = 100
"""Bytes of a table per byte of its file: a plan of images in one zip, whose path each row repeats, came to 30."""
_FREE_ROWS = 250_000
_BYTES_PER_ROW = 4
"""Each row has a key at least."""
_BATCH_ROWS = 1024
_MOST_PAGES = 100_000
"""Each takes some microseconds; pyarrow writes 20,000 rows of a column to a page."""
_UNCOMPRESSED, _COMPRESSED = 2, 3
"""Numbers of the fields of a page's header that hold its sizes."""
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _STRUCT = 0, 1, 2, 3, 4, 5, 6, 7, 8, 12
_DEEPEST = 3


def read_parquet(content: bytes, schema: pa.Schema | None = None, most_rows: int | None = None) -> pa.Table:
    """The table, with the columns of `schema` if one is given.

    It uses neither pyarrow's threads nor Python's file objects: a thread that still held one when the process ended
    aborted the process with exit code 134 in 9 of 40 runs of `sod release build` (pyarrow 26).

    Args:   most_rows: by default many more than any file here has for its bytes.
    Raises: pa.ArrowInvalid: it is not whole parquet, has other columns, or would take far more memory than the file.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if schema is not None and not file.schema_arrow.equals(schema):
            names = file.schema_arrow.names
            raise pa.ArrowInvalid(f"expected the columns {schema.names}, found {names[:100]} or other types")
        return _read_bounded(file, content, most_rows or _FREE_ROWS + len(content) // _BYTES_PER_ROW)
    except pa.ArrowInvalid:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        # OSError: damaged page headers, although no disk is read. ValueError: texts in it that are not UTF-8.
        raise pa.ArrowInvalid(f"not a whole parquet file: {error}") from error


def parquet_schema(content: bytes) -> pa.Schema:
    """The columns of a parquet file; no row is read.

    Raises: pa.ArrowInvalid: it is not whole parquet.
    """
    try:
        return pq.ParquetFile(pa.BufferReader(content)).schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise pa.ArrowInvalid(f"not a whole parquet file: {error}") from error


def _read_bounded(file: pq.ParquetFile, content: bytes, most_rows: int) -> pa.Table:
    """Read batch by batch. What the file says about its size is looked at first, and not believed."""
    about, file_bytes = file.metadata, len(content)
    most_bytes = _FREE_BYTES + _EXPANSION * file_bytes
    claimed = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if claimed <= most_bytes:
        claimed = sum(_page_sizes(content, about))
    if about.num_rows > most_rows or claimed > most_bytes:
        raise pa.ArrowInvalid(
            f"{file_bytes:,} bytes of parquet claim {about.num_rows:,} rows of {claimed:,} bytes; at most "
            f"{most_rows:,} rows of {most_bytes:,} bytes are read"
        )
    batches, taken_bytes = [], 0
    for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
        batches.append(batch)
        taken_bytes += batch.nbytes
        if taken_bytes > most_bytes:
            raise pa.ArrowInvalid(f"{file_bytes:,} bytes of parquet unpack to more than {most_bytes:,}")
    return pa.Table.from_batches(batches, file.schema_arrow)


def _page_sizes(content: bytes, about: pq.FileMetaData) -> Iterator[int]:
    """The size in memory that each page asks for, of all pages that pyarrow would read.

    Raises: pa.ArrowInvalid: a page has no header, or there are too many; columns overlap or are not in the file.
    """
    if about.created_by.startswith("parquet-mr"):
        raise pa.ArrowInvalid("not written by pyarrow, but by parquet-mr, of whose files more is read than they state")
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.num_values]  # of others no page is read
    if sum(chunk.total_compressed_size for chunk in chunks) > len(content):
        raise pa.ArrowInvalid("its columns overlap")
    pages = 0
    for chunk in chunks:
        at, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset or 0
        if 0 < dictionary < at:
            at = dictionary
        end = at + chunk.total_compressed_size
        if not 0 <= at <= end <= len(content):
            raise pa.ArrowInvalid(f"a column from byte {at:,} to {end:,} of {len(content):,}")
        while at < end:
            pages += 1
            if pages > _MOST_PAGES:
                raise pa.ArrowInvalid(f"it has more than {_MOST_PAGES:,} pages")
            try:
                sizes, at = _page_header(content, at)
                yield sizes[_UNCOMPRESSED]
                at += sizes[_COMPRESSED]
            except (IndexError, KeyError, ValueError) as error:
                raise pa.ArrowInvalid(f"no page begins at byte {at:,}: {error!r}") from error


def _page_header(content: bytes, at: int) -> tuple[dict[int, int], int]:
    """The 32-bit numbers of a page's header by field, and where the header ends."""
    numbers: dict[int, int] = {}
    fields = [0]  # the number of the last field, of the header and of the structs in it that are open
    while fields:
        delta, kind = content[at] >> 4, content[at] & 15
        at += 1
        if kind == _STOP:
            fields.pop()
            continue
        field, at = (fields[-1] + delta, at) if delta else _number(content, at)
        fields[-1] = field
        if kind in (_I16, _I32, _I64):
            number, at = _number(content, at)
            if kind == _I32 and len(fields) == 1:
                numbers[field] = number
        elif kind == _BINARY:
            length, at = _varint(content, at)
            at += length
        elif kind == _STRUCT and len(fields) < _DEEPEST:
            fields.append(0)
        elif kind in (_TRUE, _FALSE, _BYTE, _DOUBLE):
            at += {_BYTE: 1, _DOUBLE: 8}.get(kind, 0)
        else:
            raise ValueError(f"a field of kind {kind}")
    if min(numbers[_UNCOMPRESSED], numbers[_COMPRESSED]) < 0:
        raise ValueError("a negative size")
    return numbers, at


def _number(content: bytes, at: int) -> tuple[int, int]:
    """A signed number, and where it ends."""
    value, at = _varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        value |= (content[at] & 0x7F) << shift
        if content[at] < 0x80:
            return value, at + 1
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
