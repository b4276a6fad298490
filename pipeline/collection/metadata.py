"""A table beside the images, `--metadata`: their licences and whom to attribute them to, as CSV or parquet.

A table has a column of names, and some of licence, author and source; other columns are ignored. Its header is
recognised whatever its case, so that the tables of Open Images, of Openverse and of photographers are read as they are.
"""

import dataclasses
import logging
import posixpath
import reprlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import pyarrow as pa

from pipeline.collection.collection import About, Collection, License, Origin
from pipeline.collection.license_names import is_name, number_licenses
from pipeline.collection.licensing import says_nothing
from pipeline.collection.names import in_form, index_names, relative_name
from pipeline.collection.places import CANNOT_OPEN
from pipeline.collection.rows import in_words
from pipeline.collection.spelled_numbers import whole_number
from pipeline.collection.telling import about_in, license_text, plain, telling
from pipeline.errors import CollectionError, SampleError, UsageError
from pipeline.files import urls
from pipeline.files.bounded import read_at_most
from pipeline.files.connections import connected
from pipeline.files.formats import IMAGE_SUFFIXES
from pipeline.files.parquet import read_parquet
from pipeline.files.ranges import read_range
from pipeline.files.text_tables import TextTableError, read_table
from pipeline.records import Sample
from pipeline.shown import shown, text_as_utf8

log = logging.getLogger(__name__)

_NAMES = ("name", "file_name", "file", "path", "image", "image_name", "image_path", "image_id", "id")
"""Headers of the column of names; the first that a table has counts."""
_LICENSE_NAMES = ("license_name", "licence_name")
"""As a release's own licenses.csv has it, beside an address."""
_MOST_BYTES = 4 << 30
_PARQUET = b"PAR1"


def described(collection: Collection, told: Mapping[str, About]) -> Collection:
    """The collection with the licences and origins that are told of its images. What it has already stays.

    Args: told: key → what is said of the image.
    """
    lacking = {sample.key: told[sample.key] for sample in collection.samples if _lacks_license(sample, told)}
    texts = {about.license for about in lacking.values()}
    ids, new = number_licenses(filter(is_name, texts), collection.licenses)
    numbers = {text: number for text in texts - ids.keys() if (number := whole_number(text)) is not None}
    ids |= {text: number for text, number in numbers.items() if number in collection.licenses}
    unread = {key: about.license for key, about in lacking.items() if about.license not in ids}
    if unread:
        log.warning("metadata: %s", says_nothing(Counter(map(reprlib.repr, unread.values())), next(iter(unread))))
    samples = (
        dataclasses.replace(sample, license_id=ids.get(lacking[sample.key].license, 0))
        if sample.key in lacking
        else sample
        for sample in collection.samples
    )
    origins = dict(collection.origins)
    for key, about in told.items():
        if key not in origins and (about.author or about.source):
            origins[key] = Origin(author=about.author, source=shown(about.source))
    return dataclasses.replace(
        collection,
        samples=tuple(samples),
        licenses={**collection.licenses, **dict(_with_names(new, ids, lacking.values()))},
        origins=origins,
    )


def _with_names(
    licenses: Mapping[int, License], ids: Mapping[str, int], told: Iterable[About]
) -> Iterator[tuple[int, License]]:
    """The licences, with the name that a column of its own gives to the address of one, if it gives a single one."""
    names = defaultdict[int, set[str]](set)
    for about in told:
        if about.license_name and about.license in ids:
            names[ids[about.license]].add(" ".join(about.license_name.split()))
    for number, licence in licenses.items():
        said = names[number]
        yield number, dataclasses.replace(licence, name=said.pop()) if not licence.name and len(said) == 1 else licence


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
    for name, about in _rows(table, named):
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


def _rows(table: str, named: str) -> Iterator[tuple[str, About]]:
    """Name and rest of each row.

    Raises: CollectionError: it is no such table.
    """
    try:
        fs, path = urls.resolve(table, chained=True)
        with connected(named, fs):
            is_parquet = read_range(fs, path, 0, len(_PARQUET)) == _PARQUET
            columns, rows = _parquet(read_at_most(fs, path, _MOST_BYTES)) if is_parquet else read_table(table)
            by_name = {plain(column): column for column in reversed(columns)}
            by = next((by_name[name] for name in map(plain, _NAMES) if name in by_name), "")
            told = telling(columns, taken=(by,))
            license_name = next((by_name[name] for name in map(plain, _LICENSE_NAMES) if name in by_name), "")
            if not by or not told:
                raise CollectionError(
                    f"{named}: it has the columns {in_words(columns)}; needed are one of {', '.join(_NAMES)}, and "
                    "license, author or source"
                )
            for row in rows:
                if name := text_as_utf8(str(row.get(by) or "").strip()):
                    about = about_in(row, told)
                    yield name, dataclasses.replace(about, license_name=license_text(row.get(license_name)))
    except UsageError as error:
        raise CollectionError(str(error) if str(error).startswith(named) else f"{named}: {error}") from error
    except TextTableError as error:
        raise CollectionError(f"{named}: {error}") from error
    except pa.ArrowException as error:
        raise CollectionError(f"{named}: {error}; give it whole") from error
    except CANNOT_OPEN as error:
        raise CollectionError(f"{named}: {error}; give a CSV or parquet file") from error


def _parquet(content: bytes) -> tuple[list[str], Iterator[Mapping[str, object]]]:
    table = read_parquet(content)
    known = {column for columns in telling(table.column_names).values() for column in columns}
    kept = [column for column in table.column_names if column in known or plain(column) in set(map(plain, _NAMES))]
    rows = table.select(list(dict.fromkeys(kept)))
    return table.column_names, (row for batch in rows.to_batches() for row in batch.to_pylist())


def _relative(name: str) -> str:
    with suppress(SampleError):
        return relative_name(name)
    return name


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]
