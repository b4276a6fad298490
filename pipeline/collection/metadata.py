"""A table beside the images, `--metadata`: their licences and whom to attribute them to, as CSV or parquet.

A table has a column of names, and some of licence, author and source; other columns are ignored. Its header is
recognised whatever its case, so that the tables of Open Images, of Openverse and of photographers are read as they are.
"""

import csv
import dataclasses
import io
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeline.collection.collection import About, Collection, Origin
from pipeline.collection.license_names import number_licenses
from pipeline.collection.names import in_form, index_names, relative_name
from pipeline.collection.places import CANNOT_OPEN
from pipeline.errors import CollectionError, SampleError, UsageError
from pipeline.files import urls
from pipeline.files.bounded import read_at_most
from pipeline.files.connections import connected
from pipeline.files.formats import IMAGE_SUFFIXES
from pipeline.records import Sample
from pipeline.shown import shown, text_as_utf8

_COLUMNS = {
    "name": ("name", "file_name", "file", "path", "image", "image_name", "image_path", "image_id", "id"),
    "license": ("license", "licence", "license_url", "licence_url", "license_name", "licence_name"),
    "author": ("author", "creator", "photographer", "artist", "owner", "credit"),
    "source": ("source", "source_url", "original_landing_url", "foreign_landing_url", "original_url", "url"),
}
"""Field → headers of its column, in lower case; the first that a table has counts, or the next where it is empty."""
_MOST_BYTES = 4 << 30
_LONGEST = 2000
_SHOWN = 10


def described(collection: Collection, told: Mapping[str, About]) -> Collection:
    """The collection with the licences and origins that are told of its images. What it has already stays.

    Args: told: key → what is said of the image.
    """
    texts = [told[sample.key].license for sample in collection.samples if _lacks_license(sample, told)]
    ids, new = number_licenses(texts, collection.licenses)
    samples = (
        dataclasses.replace(sample, license_id=ids[told[sample.key].license])
        if _lacks_license(sample, told)
        else sample
        for sample in collection.samples
    )
    origins = dict(collection.origins)
    for key, about in told.items():
        if key not in origins and (about.author or about.source):
            origins[key] = Origin(author=about.author, source=shown(about.source))
    return dataclasses.replace(
        collection, samples=tuple(samples), licenses={**collection.licenses, **new}, origins=origins
    )


def read_metadata(table: str, samples: Sequence[Sample]) -> dict[str, About]:
    """Read what a table says of images: key → its row.

    Only rows of images that may be meant are kept: all spellings of a name have the same last part.
    Raises: CollectionError: the table can't be read, has no such columns, has two different rows of one image, or says
            nothing of any of the images.
    """
    named = f"--metadata {shown(table)!r}"
    stems = {_stem(in_form(posixpath.basename(_relative(sample.file_name)))) for sample in samples}
    rows: dict[str, About] = {}
    first = ""
    for name, about in _rows(named, _read(table, named)):
        first = first or name
        name = _relative(name)
        base = in_form(posixpath.basename(name))
        if (base in stems or _stem(base) in stems) and rows.setdefault(name, about) != about:
            raise CollectionError(f"{named}: two rows of {name!r} differ; remove one")
    # Open Images names its images without a suffix.
    has_suffixes = any(name.lower().endswith(IMAGE_SUFFIXES) for name in rows)
    wanted = {sample.key: sample.file_name if has_suffixes else _stem(sample.file_name) for sample in samples}
    index = index_names(rows.keys(), set(wanted.values()), what=named)
    told: dict[str, About] = {}
    for key, name in wanted.items():
        try:
            told[key] = rows[index.find(name)]
        except SampleError:
            continue  # the table says nothing of it
    if not told:
        has = f"its first is of {first!r}" if first else "it has none"
        raise CollectionError(
            f"{named}: no row is of one of the {len(samples)} images, {samples[0].file_name!r} for example; {has}. "
            "Give the table of these images"
        )
    return told


def _lacks_license(sample: Sample, told: Mapping[str, About]) -> bool:
    return not sample.license_id and sample.key in told and bool(told[sample.key].license)


def _read(table: str, named: str) -> bytes:
    try:
        fs, path = urls.resolve(table, chained=True)
        with connected(named, fs):
            return read_at_most(fs, path, _MOST_BYTES)
    except UsageError as error:
        raise CollectionError(f"{named}: {error}") from error
    except CANNOT_OPEN as error:
        raise CollectionError(f"{named}: {error}; give a CSV or parquet file") from error


def _rows(named: str, content: bytes) -> Iterator[tuple[str, About]]:
    """Name and rest of each row.

    Raises: CollectionError: it is no such table.
    """
    columns, rows = _parquet(named, content) if content.startswith(b"PAR1") else _csv(named, content)
    places = {field: [columns.index(header) for header in of_field if header in columns]
              for field, of_field in _headers().items()}  # fmt: skip
    if not places["name"] or not any(places[field] for field in ("license", "author", "source")):
        raise CollectionError(
            f"{named}: it has the columns {columns[:_SHOWN]}; needed are one of {', '.join(_COLUMNS['name'])}, and "
            "license, author or source"
        )
    for row in rows:
        said = {field: _first(row, places[field]) for field in _COLUMNS}
        if said["name"]:
            yield said["name"], About(license=said["license"], author=said["author"], source=said["source"])


def _headers() -> dict[str, list[str]]:
    return {field: [_plain(header) for header in headers] for field, headers in _COLUMNS.items()}


def _first(row: Sequence[Any], places: Iterable[int]) -> str:
    """The first of these cells that says anything: text or a number, no longer than a name or an address."""
    cells = (str(row[place]).strip() for place in places if place < len(row) and isinstance(row[place], str | int))
    return next((text_as_utf8(cell) for cell in cells if 0 < len(cell) < _LONGEST), "")


def _csv(named: str, content: bytes) -> tuple[list[str], Iterator[Sequence[Any]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CollectionError(f"{named}: {error}; give a CSV file in UTF-8, or parquet") from error
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = next(reader, [])
    except csv.Error as error:
        raise CollectionError(f"{named}: {error}; give a CSV file") from error
    return [_plain(column) for column in columns], _csv_rows(named, reader)


def _csv_rows(named: str, reader: Any) -> Iterator[Sequence[Any]]:
    try:
        yield from reader
    except csv.Error as error:
        raise CollectionError(f"{named}: line {reader.line_num}: {error}; correct it") from error


def _parquet(named: str, content: bytes) -> tuple[list[str], Iterator[Sequence[Any]]]:
    import pyarrow as pa

    from pipeline.files.parquet import read_parquet

    try:
        table = read_parquet(content)
    except pa.ArrowException as error:
        raise CollectionError(f"{named}: {error}; give it whole") from error
    columns = [_plain(column) for column in table.column_names]
    known = {header for headers in _headers().values() for header in headers}
    kept = [place for place, column in enumerate(columns) if column in known]
    values = [table.column(place).to_pylist() for place in kept]
    return [columns[place] for place in kept] or columns, zip(*values, strict=True)


def _plain(header: str) -> str:
    return "".join(letter for letter in header.lower() if letter.isalnum())


def _relative(name: str) -> str:
    with suppress(SampleError):
        return relative_name(name)
    return name


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]
