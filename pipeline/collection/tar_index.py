"""Which images one tar has, and where: found by its headers, or as an earlier session kept it.

The members of a sample have one name up to the first dot of its last part, as webdataset reads them. Without
annotations a sample is one image: the only member with the suffix of an image, or the only one whose name goes on with
that suffix alone (`KEY.jpg`, not `KEY.mask.png`).

Neither a `.idx` of DALI nor an index of wids spares reading the headers. A wids index has names and sizes of tars, not
of members; a `.idx` has offsets without saying of which state of the tar, separated by the spaces that names may have.
"""

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from pipeline.collection.collection import NOTHING_SAID, About
from pipeline.collection.img2dataset import about_in_json
from pipeline.collection.names import safe_name
from pipeline.collection.places import Place, PlaceFile
from pipeline.errors import SampleError
from pipeline.files.formats import IMAGE_SUFFIXES
from pipeline.files.pictures import START_BYTES, size_in_start
from pipeline.files.ranges import Window, read_range
from pipeline.files.tar_headers import BLOCK_BYTES, Header, Read, walk

if TYPE_CHECKING:
    import pyarrow

KIND = "tars"
"""What `Kept` calls these tables."""
_MOST_JSON_BYTES = 1 << 16
_SHOWN = 3
_AHEAD_BYTES = 8 << 10
"""What is read behind a remote header: enough for the JSON and the text behind an image, and for the next header."""


class TarImage(NamedTuple):
    """An image in a tar."""

    start: int
    """Where its content begins in the tar."""
    image_bytes: int
    header_crc32: int
    """Of the block before its content."""
    problem: str
    """Why it can't be read, or which image of its sample it is; "" if there is nothing to say."""
    is_chosen: bool
    """Is it the image of its sample, where nothing else lists the images?"""
    about: About


@dataclass(frozen=True, slots=True, kw_only=True)
class TarListing:
    """The images of a tar by the names of their members, and the number of all members."""

    images: Mapping[str, TarImage]
    members: int


def list_tar(place: Place, file: PlaceFile, *, looks: bool, reads_json: bool) -> TarListing:
    """Read the headers of a tar.

    Args:   looks: also look into images for their sizes, and choose the image of each sample.
            reads_json: also read what a `KEY.json` says of the image.
    Raises: TornTarError: it is no whole tar. OSError: it can't be read.
    """
    images: dict[str, TarImage] = {}
    samples: defaultdict[str, list[str]] = defaultdict(list)
    said: dict[str, About] = {}
    members = 0
    with _reading(place, file, START_BYTES if looks else _AHEAD_BYTES) as read:
        for header in walk(read, file.file_bytes):
            members += 1
            name = _plain(header.name)
            key, extension = key_and_extension(name)
            if not key:
                continue
            if f".{extension.rpartition('.')[2]}".lower() in IMAGE_SUFFIXES:
                if name not in images:
                    samples[key].append(name)
                images[name] = _image(header, read, looks=looks, is_second=name in images)
            elif reads_json and extension.lower() == "json" and header.content_bytes <= _MOST_JSON_BYTES:
                said[key] = about_in_json(read(header.start, header.start + header.content_bytes))
    if looks:
        for key, names in samples.items():
            _choose(images, names, said.get(key, NOTHING_SAID))
    return TarListing(images=images, members=members)


def key_and_extension(name: str) -> tuple[str, str]:
    """The key of a sample and what follows it, "000/cat" and "mask.png" of "000/cat.mask.png"; "" and "" of others."""
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return (folder + slash + stem, extension) if stem and dot else ("", "")


def _plain(name: str) -> str:
    try:
        return safe_name(name)
    except SampleError:  # whoever wants it hears why it is not read
        return name


def _image(header: Header, read: Read, *, looks: bool, is_second: bool) -> TarImage:
    problem = "several members of the tar have this name" if is_second else header.problem and f"it is {header.problem}"
    size = None
    if looks and not problem:
        size = size_in_start(read(header.start, header.start + min(header.content_bytes, START_BYTES)))
    return TarImage(
        start=header.start,
        image_bytes=header.content_bytes,
        header_crc32=zlib.crc32(header.header),
        problem=problem,
        is_chosen=False,
        about=About(size=size) if size else NOTHING_SAID,
    )


def _choose(images: dict[str, TarImage], names: list[str], said: About) -> None:
    alone = [name for name in names if "." not in key_and_extension(name)[1]] if len(names) > 1 else names
    name = alone[0] if alone else names[0]
    image = images[name]
    problem = image.problem
    if len(alone) != 1:
        problem = f"{len(names)} members of its sample are images, {sorted(names)[:_SHOWN]}"
    images[name] = image._replace(is_chosen=True, problem=problem, about=replace(said, size=image.about.size))


@contextmanager
def _reading(place: Place, file: PlaceFile, ahead_bytes: int) -> Iterator[Read]:
    """Read parts of a tar: of a remote one ahead, so that small members and the start of an image come in one go."""
    if not place.is_local:
        ahead_bytes += BLOCK_BYTES
        yield Window(lambda start, end: read_range(place.fs, file.path, start, end), file.file_bytes, ahead_bytes).read
        return
    descriptor = os.open(file.path, os.O_RDONLY)
    try:
        yield lambda start, end: os.pread(descriptor, end - start, start)
    finally:
        os.close(descriptor)


_ABOUT = ("license", "author", "source")
_NUMBERS = ("start", "image_bytes", "header_crc32", "width", "height", "orientation")


def to_table(listings: Mapping[str, TarListing]) -> "pyarrow.Table":
    """What `Kept` stores of tars, by their digests.

    Each tar has a row without a name, whose `start` is the number of its members: so one without images is known too.
    """
    import pyarrow as pa

    rows = [row for digest, listing in listings.items() for row in _rows(digest, listing)]
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(schema().names, map(list, columns), strict=True)), schema=schema())


def _rows(digest: str, listing: TarListing) -> Iterable[tuple[object, ...]]:
    yield (digest, "", listing.members, 0, 0, 0, 0, 0, "", False, "", "", "")
    for name, image in listing.images.items():
        said = image.about
        numbers = (image.start, image.image_bytes, image.header_crc32, *(said.size or (0, 0, 0)))
        yield (digest, name, *numbers, image.problem, image.is_chosen, said.license, said.author, said.source)


def from_tables(tables: Iterable["pyarrow.Table"], wanted: Mapping[str, int]) -> dict[str, TarListing]:
    """Read what `to_table` made.

    Args: wanted: digest → size of the tar; rows of others are left out, and so are rows that lead out of the tar.
    """
    images: defaultdict[str, dict[str, TarImage]] = defaultdict(dict)
    members: dict[str, int] = {}
    for batch in (batch for table in tables for batch in table.to_batches()):
        for digest, name, *rest in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if digest not in wanted:
                continue
            start, image_bytes, crc32, width, height, orientation, problem, is_chosen, *said = rest
            if not name:
                members[digest] = start
            elif BLOCK_BYTES <= start <= start + image_bytes <= wanted[digest]:
                size = (width, height, orientation) if width > 0 and height > 0 else None
                about = About(**dict(zip(_ABOUT, said, strict=True)), size=size)
                images[digest][name] = TarImage(start, image_bytes, crc32, problem, is_chosen, about)
    return {digest: TarListing(images=images[digest], members=count) for digest, count in members.items()}


def schema() -> "pyarrow.Schema":
    """The columns of a kept table."""
    import pyarrow as pa

    texts = [pa.field(name, pa.string(), nullable=False) for name in ("file", "name", "problem", *_ABOUT)]
    numbers = [pa.field(name, pa.int64(), nullable=False) for name in _NUMBERS]
    is_chosen = pa.field("is_chosen", pa.bool_(), nullable=False)
    return pa.schema([*texts[:2], *numbers, texts[2], is_chosen, *texts[3:]])
