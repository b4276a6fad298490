"""A zip of images: its central directory is read once, and nothing is unpacked but the image that is read.

Zips come from many tools. Names without the mark of UTF-8 are read as UTF-8 if they are that, or else in the encoding
in which most of the wanted names are found. What macOS adds to archives (`__MACOSX`, `._x`, `.DS_Store`) is no image.
"""

import os
import posixpath
import re
import stat
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.collection.collection import NOTHING_SAID, About
from pipeline.collection.config import InputConfig
from pipeline.collection.names import NameIndex, ambiguous, in_form, index_names, is_added, short
from pipeline.collection.places import Place
from pipeline.errors import CollectionError, SampleError
from pipeline.files import urls
from pipeline.files.ranges import read_range
from pipeline.records import Location

ENCODINGS = ("cp437", "gb18030", "cp932", "big5", "cp949", "cp1252", "cp850", "cp1250", "cp1251", "cp866")
"""Encodings of names in zips without the mark of UTF-8; the first is what the standard prescribes."""
_UTF_8 = 0x800
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
# Only the local header has the length of the extra field. In COCO's archives it is 28 bytes, and names take 32.
_HEADER_SLACK_BYTES = 256
_END_BYTES = 22
_END_MARK = b"PK\x05\x06"
_SPLIT_MARK = b"PK\x07\x08"
_PART_OF_A_SPLIT = re.compile(r"\.(z\d\d+|\d{3,}|part\d+(\.\w+)?)$", re.IGNORECASE)
_DRIVE = re.compile(r"^[A-Za-z]:")
_ENCRYPTED = 0x1 | 0x40
_READABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Errors that `zipfile` was seen to raise for archives with flipped bytes; OverflowError: offsets beyond 2^63.
_TORN = (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, EOFError, IndexError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zip:
    """The central directory of a zip; a name has several members only if the zip is odd."""

    path: str
    archive_bytes: int
    members: Mapping[str, list[zipfile.ZipInfo]]
    index: NameIndex

    holds_images_only = False

    @property
    def found(self) -> str:
        """As `ImageStore.found`."""
        return f"a zip of {len(self.members)} files"

    def names(self) -> Iterable[str]:
        """As `ImageStore.names`."""
        return self.members.keys()

    def locate(self, file_name: str) -> Location:
        """As `ImageStore.locate`."""
        found = self.members[self.index.find(file_name)]
        if len(found) > 1:
            raise ambiguous(file_name, "members", [member.filename for member in found])
        member = found[0]
        problem = _member_problem(member, self.archive_bytes)
        if problem:
            raise SampleError("unreadable", f"file_name {short(file_name)}: {problem}")
        return Location(
            path=self.path,
            reader="zip",
            place=(
                member.header_offset,
                member.compress_size,
                member.file_size,
                member.compress_type,
                member.CRC,
            ),
        )

    def about(self, _name: str) -> About:
        """As `ImageStore.about`: files say nothing of themselves."""
        return NOTHING_SAID


def _member_problem(member: zipfile.ZipInfo, archive_bytes: int) -> str:
    if member.flag_bits & _ENCRYPTED:
        return "the member is encrypted"
    if member.compress_type not in _READABLE_METHODS:
        return f"compression method {member.compress_type}; only stored (0) and deflated (8) can be read"
    end = member.header_offset + _LOCAL_HEADER.size + member.compress_size
    if member.header_offset < 0 or end > archive_bytes:
        return f"{member.compress_size} bytes at {member.header_offset} are outside the archive of {archive_bytes}"
    if member.file_size >= 1 << 62:
        return f"claims {member.file_size} bytes"
    return ""


def is_zip(place: Place) -> bool:
    """Does it begin or end like a zip, or is it named like one?"""
    if place.type != "file":
        return False
    named = place.path.lower().endswith(".zip") or _PART_OF_A_SPLIT.search(place.path)
    return bool(named) or place.start.startswith(b"PK") or _END_MARK in place.end


def open_zip(place: Place, wanted: Collection[str], _inputs: InputConfig) -> Zip:
    """Read the central directory of a zip.

    Args:   wanted: all names that will be requested.
    Raises: CollectionError: it is torn, part of a split zip, or no zip at all.
            NoRangesError: its server sends whole files only.
    """
    if not place.is_local:
        read_range(place.fs, place.path, 1, 2)  # a server that sends no parts is found out here, not at each image
    # A remote central directory is read in a few large ranges; local files ignore block_size.
    options = {} if place.is_local else {"cache_type": "readahead", "block_size": 1 << 20}
    with place.fs.open(place.path, "rb", **options) as file:
        archive_bytes = file.seek(0, os.SEEK_END)
        try:
            with zipfile.ZipFile(file) as archive:
                every, comment = archive.infolist(), archive.comment
            file.seek(max(0, archive_bytes - _END_BYTES - len(comment)))
            end = file.read(_END_BYTES)
        except _TORN as error:
            raise CollectionError(_not_a_zip(place, archive_bytes, error)) from error
    disks = int.from_bytes(end[4:6], "little") if end.startswith(_END_MARK) else 0
    if 0 < disks < 0xFFFF:
        raise CollectionError(
            f"{place.named()}: the last of {disks + 1} parts of a split zip. Join the parts, zip -s 0 "
            "split.zip --out whole.zip for example, and give the whole zip"
        )
    file_names = frozenset(wanted)
    _decode_names(every, {in_form(posixpath.basename(name)) for name in file_names})
    members = defaultdict[str, list[zipfile.ZipInfo]](list)
    for member in every:
        if _may_be_image(member, file_names):
            members[_tidy(member.filename)].append(member)
    index = index_names(members.keys(), file_names)
    return Zip(path=place.own_path, archive_bytes=archive_bytes, members=members, index=index)


def read_member(location: Location, label: str, max_bytes: int, first: int | None = None) -> bytes:
    """Read and check one member: local header, stored bytes, length, CRC-32. As the readers of `stores.READERS`."""
    member = _Member(*location.place)
    # Where possible, these are the messages of `read_file`: a release does not show whether images came in a zip.
    for claimed, unit in ((member.image_bytes, "bytes"), (member.stored_bytes, "bytes in the archive")):
        if claimed > max_bytes:
            raise SampleError("too_many_bytes", f"{label}: {claimed} {unit}; the limit is {max_bytes}")
    is_whole = first is None or member.compression != zipfile.ZIP_STORED
    stored = _stored_bytes(location.path, member, label, None if is_whole else first)
    if not is_whole:
        return stored
    image_bytes = stored if member.compression == zipfile.ZIP_STORED else _inflate(member, label, stored)
    if len(image_bytes) != member.image_bytes:
        found = f"{len(image_bytes)} bytes instead of {member.image_bytes}"
        raise SampleError("unreadable", f"{label}: member at {member.header_offset} has {found}")
    crc32 = zlib.crc32(image_bytes)
    if crc32 != member.crc32:
        found = f"CRC-32 {crc32:08x} instead of {member.crc32:08x}"
        raise SampleError("unreadable", f"{label}: member at {member.header_offset} has {found}")
    return image_bytes


class _Member(NamedTuple):
    """What `Location.place` holds for a member of a zip."""

    header_offset: int
    stored_bytes: int
    image_bytes: int
    compression: int
    crc32: int


def _stored_bytes(archive: str, member: _Member, label: str, first: int | None) -> bytes:
    """The member's bytes as stored in the archive: one range read, or two if its header is unusually long.

    Args: first: only so many of them.
    """
    fs, path = urls.resolve(archive, chained=True)
    wanted = member.stored_bytes if first is None else min(first, member.stored_bytes)
    start = member.header_offset
    end = start + _LOCAL_HEADER.size + _HEADER_SLACK_BYTES + wanted
    chunk = read_range(fs, path, start, end)
    where = f"{label}: member at {start}"
    if len(chunk) < _LOCAL_HEADER.size:
        raise SampleError("unreadable", f"{where}: the archive ends before it")
    signature, _, _, method, *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(chunk)
    if signature != b"PK\x03\x04" or method != member.compression:
        found = f"header {signature!r}, method {method}"
        raise SampleError("unreadable", f"{where}: {found}; has the archive changed?")
    skip = _LOCAL_HEADER.size + name_bytes + extra_bytes
    if skip + wanted > end - start:
        chunk, skip = read_range(fs, path, start + skip, start + skip + wanted), 0
    stored = chunk[skip : skip + wanted]
    if len(stored) < wanted:
        raise SampleError("unreadable", f"{where}: {len(stored)} of {wanted} bytes, then it ends")
    return stored


def _inflate(member: _Member, label: str, stored: bytes) -> bytes:
    """Inflate at most one byte more than the member claims, so that a zip bomb is noticed and not unpacked."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        image_bytes = stream.decompress(stored, member.image_bytes + 1)
    except zlib.error as error:
        raise SampleError("unreadable", f"{label}: member at {member.header_offset}: {error}") from error
    if not stream.eof or stream.unused_data:
        found = f"{len(stored)} bytes do not inflate to the {member.image_bytes} claimed"
        raise SampleError("unreadable", f"{label}: member at {member.header_offset}: {found}")
    return image_bytes


def _tidy(name: str) -> str:
    """The name of a member without what makes it absolute: tools that unpack zips leave that out too."""
    name = _DRIVE.sub("", name.replace("\\", "/"))
    while name.startswith(("/", "./")):
        name = name.partition("/")[2]
    return name


def _decode_names(members: Iterable[zipfile.ZipInfo], wanted: Set[str]) -> None:
    """Give members without the mark of UTF-8 the names that their tool meant.

    Args: wanted: basenames of images, in NFC.
    """
    undecided: list[tuple[zipfile.ZipInfo, bytes]] = []
    for member in members:
        if member.flag_bits & _UTF_8 or member.filename.isascii():
            continue
        try:
            stored = member.filename.encode("cp437")
        except UnicodeEncodeError:
            continue  # the name is from a Unicode field
        try:
            member.filename = stored.decode("utf-8")
        except UnicodeDecodeError:
            undecided.append((member, stored))
    if undecided:
        decoded = {encoding: [_decoded(stored, encoding) for _, stored in undecided] for encoding in ENCODINGS}
        hits = {
            encoding: sum(in_form(posixpath.basename(name)) in wanted for name in names)
            for encoding, names in decoded.items()
        }
        for (member, _), name in zip(undecided, decoded[max(ENCODINGS, key=hits.__getitem__)], strict=True):
            member.filename = name


def _decoded(stored: bytes, encoding: str) -> str:
    return stored.decode(encoding, "replace")


def _may_be_image(member: zipfile.ZipInfo, file_names: Set[str]) -> bool:
    """Is it neither a folder, nor a link, nor a file that macOS adds to archives?"""
    if not member.filename:  # only damage makes such a member; asked whether it is a folder, it raises an IndexError
        return False
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    is_added_file = is_added(member.filename) and member.filename not in file_names
    return not (member.is_dir() or is_link or is_added_file)


def _not_a_zip(place: Place, archive_bytes: int, error: Exception) -> str:
    if place.start.startswith(_SPLIT_MARK) or _PART_OF_A_SPLIT.search(place.given):
        return (
            f"{place.named()}: one part of a split archive. Join its parts (zip -s 0 split.zip --out "
            "whole.zip; for parts with numbers, cat x.zip.0* > x.zip), and give the whole zip"
        )
    if place.start.startswith(b"PK"):
        return f"{place.named()}: a torn zip of {archive_bytes} bytes ({error}); copy or download it again"
    return f"{place.named()}: not a zip but {place.in_words()}; give a zip or a folder of images"
