"""Tars of images as webdataset writes and reads them, on a local disk or remote: one tar, a folder, or a pattern.

The headers of all tars are read once, in threads; then each image is one range of its tar. A name has two forms:

- with annotations, `file_name` is the member's name (`000000000139.jpg`); where two tars have the name, or to be exact,
  it is the tar's name without `.tar`, a slash, and the member's name (`00000/000000000139.jpg`); other spellings of
  the first form are found as in every kind of place (`names.index_names`);
- without annotations, images have the second form, always: which tars are there, or come later, changes no name.

Images keep their names as long as tars keep theirs, so a collection grows when tars are added.
"""

import os
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.collection import tar_index
from pipeline.collection.collection import NOTHING_SAID, About
from pipeline.collection.config import InputConfig
from pipeline.collection.img2dataset import about_beside
from pipeline.collection.names import NameIndex, ambiguous, in_form, index_names, relative_name, short
from pipeline.collection.places import Place, PlaceFile
from pipeline.collection.tar_index import TarImage, TarListing, key_and_extension, list_tar
from pipeline.errors import CollectionError, SampleError
from pipeline.files import urls
from pipeline.files.formats import IMAGE_SUFFIXES, format_of
from pipeline.files.ranges import read_range
from pipeline.files.tar_headers import BLOCK_BYTES, TornTarError
from pipeline.records import Location
from pipeline.shown import shown

_SUFFIX = ".tar"
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")
_REMOTE_THREADS, _LOCAL_THREADS = 32, 4
_SHOWN = 3
_MAGIC, _USTAR = slice(257, 262), b"ustar"
_LOOKED, _READ_JSON = "+sizes", "+json"
"""What was read beside the headers, as part of the digest by which a listing is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tars:
    """The images of some tars.

    `where` has images under their names in NFC: all in the short form and the wanted ones in the long form, or, if none
    are wanted, the one image of each sample in the long form. `index` tells what other names mean, in the short form.
    """

    files: Sequence[PlaceFile]
    listings: Sequence[TarListing]
    where: Mapping[str, Sequence["_Hit"]]
    index: NameIndex
    holds_images_only = True

    @property
    def found(self) -> str:
        """As `ImageStore.found`."""
        images = sum(len(listing.images) for listing in self.listings)
        members = sum(listing.members for listing in self.listings)
        return f"{len(self.files)} webdataset tars, in which {members} members were listed, {images} of them images"

    def names(self) -> Iterator[str]:
        """As `ImageStore.names`: one image of each sample."""
        for file, listing in zip(self.files, self.listings, strict=True):
            yield from (f"{_stem(file)}/{name}" for name, image in listing.images.items() if image.is_chosen)

    def locate(self, file_name: str) -> Location:
        """As `ImageStore.locate`."""
        hits = self.where.get(in_form(file_name)) or self.where[in_form(self.index.find(file_name))]
        if len(hits) > 1:  # what is spelled just so comes before what looks the same
            exact = [hit for hit in hits if file_name in (hit.name, f"{_stem(self.files[hit.tar])}/{hit.name}")]
            hits = exact if len(exact) == 1 else hits
        if len(hits) > 1:
            raise ambiguous(file_name, "members", [f"{_stem(self.files[hit.tar])}/{hit.name}" for hit in hits])
        relative_name(hits[0].name)
        image = self._image(hits[0])
        if image.problem:
            raise SampleError("unreadable", f"file_name {short(file_name)}: {image.problem}")
        return Location(
            path=self.files[hits[0].tar].own_path,
            reader="tar",
            place=(image.start, image.image_bytes, image.header_crc32),
            part=hits[0].name,
        )

    def about(self, name: str) -> About:
        """As `ImageStore.about`."""
        hits = self.where.get(in_form(name), ())
        return self._image(hits[0]).about if len(hits) == 1 else NOTHING_SAID

    def _image(self, hit: "_Hit") -> TarImage:
        return self.listings[hit.tar].images[hit.name]


class _Hit(NamedTuple):
    """Where an image is: number of the tar, and name of the member."""

    tar: int
    name: str


def is_tars(place: Place) -> bool:
    """Is it a tar, a pattern of tars, or a folder that has tars, and no images at its top or directly below?

    img2dataset writes a parquet and a JSON beside each tar, which make it no other kind of place. A tar beside a folder
    of images is what they came in.
    """
    if place.type == "file":
        return place.path.lower().endswith((_SUFFIX, *_PACKED)) or place.start[_MAGIC] == _USTAR
    names = [name.lower() for name in place.names]
    if not any(name.endswith((_SUFFIX, *_PACKED)) for name in names):
        return False
    return not any(name.endswith(IMAGE_SUFFIXES) for name in names) and not place.has_below(*IMAGE_SUFFIXES)


def open_tars(place: Place, wanted: Collection[str], _inputs: InputConfig) -> Tars:
    """Find out which images the tars have: from their headers, or from what the run kept of them.

    Args:   wanted: names that will be requested. None: the image of each sample.
    Raises: CollectionError: a tar is compressed, torn, or no tar; or no tar has an image.
    """
    files = place.files(_SUFFIX, *_PACKED)
    for file in files:
        if file.name.lower().endswith(_PACKED):
            raise CollectionError(
                f"{place.named()}: {shown(file.name)!r} is compressed, and parts of such a tar can't be read. Unpack "
                f"it to {_SUFFIX} first, with gunzip or unzstd for example"
            )
    listings = _listings(place, files, looks=not wanted)
    if not any(listing.images for listing in listings):
        members = sum(listing.members for listing in listings)
        raise CollectionError(
            f"{place.named()}: {len(files)} tars with {members} members, none with the suffix of an image; images end "
            f"in {', '.join(IMAGE_SUFFIXES)}"
        )
    where = _where(files, listings, wanted)
    there = {name for listing in listings for name in listing.images} if wanted else set()
    index = index_names(there, [name for name in wanted if name in there or in_form(name) not in where])
    return Tars(files=files, listings=listings, where=where, index=index)


def read_member(location: Location, label: str, max_bytes: int, first: int | None = None) -> bytes:
    """Read one member, after comparing the block before it with the planned one. As the readers of `stores.READERS`."""
    start, image_bytes, header_crc32 = location.place
    if image_bytes > max_bytes:
        raise SampleError("too_many_bytes", f"{label}: {image_bytes} bytes; the limit is {max_bytes}")
    wanted = image_bytes if first is None else min(first, image_bytes)
    fs, path = urls.resolve(location.path, chained=True)
    header, content = _header_and_content(fs, path, start, wanted)
    if zlib.crc32(header) != header_crc32:
        raise SampleError(
            "unreadable", f"{label}: at {start} is another member than {short(location.part)}; has the tar changed?"
        )
    if len(content) < wanted:
        raise SampleError("unreadable", f"{label}: member at {start}: {len(content)} of {wanted} bytes, then it ends")
    return content


def _header_and_content(fs: AbstractFileSystem, path: str, start: int, wanted: int) -> tuple[bytes, bytes]:
    """The block before `start`, and so many bytes from there."""
    if isinstance(fs, LocalFileSystem):  # cutting one piece in two would copy the image
        with open(path, "rb", buffering=0) as tar:
            return os.pread(tar.fileno(), BLOCK_BYTES, start - BLOCK_BYTES), os.pread(tar.fileno(), wanted, start)
    chunk = read_range(fs, path, start - BLOCK_BYTES, start + wanted)
    return chunk[:BLOCK_BYTES], chunk[BLOCK_BYTES:]


def _stem(file: PlaceFile) -> str:
    return file.name[: -len(_SUFFIX)] if file.name.lower().endswith(_SUFFIX) else file.name


def _listings(place: Place, files: Sequence[PlaceFile], *, looks: bool) -> list[TarListing]:
    """What each tar has, in the order of `files`; what was read for it is added to what the run keeps.

    Raises: CollectionError: some are no whole tars; the message names them.
    """
    new: dict[str, TarListing] = {}
    torn: list[str] = []

    def listed(file: PlaceFile) -> TarListing:
        beside = _beside(place, file) if looks else {}
        state = file.digest and file.digest + (_LOOKED if looks else "") + (_READ_JSON if looks and not beside else "")
        listing = kept.get(state)
        if listing is None:
            try:
                listing = list_tar(place, file, looks=looks, reads_json=looks and not beside)
            except TornTarError as error:
                torn.append(f"{shown(file.name)!r}, {file.file_bytes} bytes{_format(place, file)}: {error}")
                return TarListing(images={}, members=0)
            if state:
                new[state] = listing
        return _described(listing, beside)

    states = {file.digest + looked: file.file_bytes for file in files for looked in ("", _LOOKED, _LOOKED + _READ_JSON)}
    kept = tar_index.from_tables(place.kept.tables(tar_index.KIND, tar_index.schema()), states)
    threads = _LOCAL_THREADS if place.is_local else _REMOTE_THREADS  # the rest of the work is Python's, one at a time
    with ThreadPoolExecutor(threads, thread_name_prefix="tars") as pool:
        listings = list(pool.map(listed, files))
    if torn:
        raise CollectionError(
            f"{place.named()}: {len(torn)} of {len(files)} are no whole tars, so nobody knows which images they had. "
            f"Copy or write them again, or unpack what is compressed: {'; '.join(sorted(torn)[:_SHOWN])}"
        )
    if new:
        place.kept.add(tar_index.KIND, tar_index.to_table({state: new[state] for state in sorted(new)}))
    return listings


def _where(
    files: Sequence[PlaceFile], listings: Sequence[TarListing], wanted: Collection[str]
) -> dict[str, tuple[_Hit, ...]]:
    forms = {in_form(name) for name in wanted}
    where: defaultdict[str, tuple[_Hit, ...]] = defaultdict(tuple)
    for tar, (file, listing) in enumerate(zip(files, listings, strict=True)):
        stem = _stem(file)
        for name, image in listing.images.items():
            form = in_form(f"{stem}/{name}")
            if form in forms or (not forms and image.is_chosen):
                where[form] += (_Hit(tar, name),)
            if forms:
                where[in_form(name)] += (_Hit(tar, name),)
    return dict(where)


def _beside(place: Place, file: PlaceFile) -> dict[str, About]:
    name = f"{_stem(file)}.parquet"
    is_signed = not file.path.lower().endswith(_SUFFIX)  # for this file alone
    if is_signed or (place.type == "directory" and name not in place.names):
        return {}
    return about_beside(place, f"{file.path[: -len(_SUFFIX)]}.parquet")


def _described(listing: TarListing, beside: Mapping[str, About]) -> TarListing:
    if not beside:
        return listing
    images = {}
    for name, image in listing.images.items():
        said = beside.get(key_and_extension(name)[0].rpartition("/")[2], NOTHING_SAID)
        images[name] = image._replace(about=replace(said, size=image.about.size))
    return replace(listing, images=images)


def _format(place: Place, file: PlaceFile) -> str:
    start = read_range(place.fs, file.path, 0, BLOCK_BYTES)
    found = format_of(start)
    return f" ({found})" if found and start[_MAGIC] != _USTAR else ""
