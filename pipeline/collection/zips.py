"""A zip of images: its central directory, read once and never unpacked.

Zips come from many tools. Names without the mark of UTF-8 are read as UTF-8 if they are that, or else in the encoding
in which most of the wanted names are found. What macOS adds to archives (`__MACOSX`, `._x`, `.DS_Store`) is no image.
"""

import os
import posixpath
import re
import stat
import struct
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from pipeline.collection.names import ambiguous, in_form, missing, safe_name, short
from pipeline.errors import CollectionError, SampleError
from pipeline.files.formats import format_of
from pipeline.records import Location
from pipeline.shown import shown

ENCODINGS = ("cp437", "gb18030", "cp932", "big5", "cp949", "cp1252", "cp850", "cp1250", "cp1251", "cp866")
"""Encodings of names in zips without the mark of UTF-8; the first is what the standard prescribes."""
_UTF_8 = 0x800
_LOCAL_HEADER_BYTES = 30
_END_BYTES = 22
_SPLIT_MARK = b"PK\x07\x08"
_PART_OF_A_SPLIT = re.compile(r"\.(z\d\d+|\d{3,}|part\d+(\.\w+)?)$", re.IGNORECASE)
_ENCRYPTED = 0x1 | 0x40
_READABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Errors that `zipfile` was seen to raise for archives with flipped bytes; OverflowError: offsets beyond 2^63.
_TORN = (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, EOFError, IndexError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zip:
    """The central directory of a zip.

    `top` is the one folder that holds all members and that no wanted name has, with its "/", or "". `forms` and `bases`
    have names in NFC: `forms` those that are not ASCII; `ends` maps a wanted name with a folder to the members that lie
    in further folders, each under the longest name only; `bases` maps a basename to its members, only if a single
    wanted name has that basename. So images in different folders never share a member.
    """

    path: str
    archive_bytes: int
    members: Mapping[str, list[zipfile.ZipInfo]]
    forms: Mapping[str, list[zipfile.ZipInfo]]
    ends: Mapping[str, list[zipfile.ZipInfo]]
    bases: Mapping[str, list[zipfile.ZipInfo]]
    top: str

    def locate(self, file_name: str) -> Location:
        """As `ImageStore.locate`."""
        name = safe_name(file_name)
        for found in (
            self.members.get(file_name),
            self.members.get(name),
            self.members.get(self.top + name),
            self.forms.get(in_form(name)),
            self.forms.get(in_form(self.top + name)),
            self.ends.get(in_form(name)),
            self.bases.get(in_form(posixpath.basename(name))),
        ):
            if found:
                return self._location(file_name, found)
        raise missing(file_name)

    def _location(self, file_name: str, found: list[zipfile.ZipInfo]) -> Location:
        if len(found) > 1:
            raise ambiguous(file_name, "members", [member.filename for member in found])
        member = found[0]
        problem = _member_problem(member, self.archive_bytes)
        if problem:
            raise SampleError("unreadable", f"file_name {short(file_name)}: {problem}")
        return Location(
            path=self.path,
            header_offset=member.header_offset,
            stored_bytes=member.compress_size,
            image_bytes=member.file_size,
            compression=member.compress_type,
            crc32=member.CRC,
        )


def _member_problem(member: zipfile.ZipInfo, archive_bytes: int) -> str:
    if member.flag_bits & _ENCRYPTED:
        return "the member is encrypted"
    if member.compress_type not in _READABLE_METHODS:
        return f"compression method {member.compress_type}; only stored (0) and deflated (8) can be read"
    end = member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size
    if member.header_offset < 0 or end > archive_bytes:
        return f"{member.compress_size} bytes at {member.header_offset} are outside the archive of {archive_bytes}"
    if member.file_size >= 1 << 62:
        return f"claims {member.file_size} bytes"
    return ""


def open_zip(fs: AbstractFileSystem, path: str, images: str, file_names: Set[str]) -> Zip:
    """Read the central directory of a zip.

    Args:   path: in `fs`. images: the path or URL as the user gave it.
            file_names: all names that will be requested.
    Raises: CollectionError: it is torn, part of a split zip, or no zip at all.
    """
    # A remote central directory is read in a few large ranges; local files ignore block_size.
    options = {} if isinstance(fs, LocalFileSystem) else {"cache_type": "readahead", "block_size": 1 << 20}
    with fs.open(path, "rb", **options) as file:
        archive_bytes = file.seek(0, os.SEEK_END)
        try:
            with zipfile.ZipFile(file) as archive:
                every, comment = archive.infolist(), archive.comment
            file.seek(max(0, archive_bytes - _END_BYTES - len(comment)))
            end = file.read(_END_BYTES)
        except _TORN as error:
            file.seek(0)
            raise CollectionError(_not_a_zip(images, archive_bytes, file.read(512), error)) from error
    disks = int.from_bytes(end[4:6], "little") if end.startswith(b"PK\x05\x06") else 0
    if 0 < disks < 0xFFFF:
        raise CollectionError(
            f"images {shown(images)!r}: the last of {disks + 1} parts of a split zip. Join the parts, zip -s 0 "
            "split.zip --out whole.zip for example, and give the whole zip"
        )
    _decode_names(every, {in_form(posixpath.basename(name)) for name in file_names})
    infos = [member for member in every if _may_be_image(member, file_names)]
    own_path = path if isinstance(fs, LocalFileSystem) else images
    return _sorted_in(infos, own_path, archive_bytes, file_names)


def _sorted_in(infos: Iterable[zipfile.ZipInfo], path: str, archive_bytes: int, file_names: Set[str]) -> Zip:
    members, forms, ends, bases = (defaultdict[str, list[zipfile.ZipInfo]](list) for _ in range(4))
    wanted = Counter(in_form(posixpath.basename(name)) for name in file_names)
    with_folder = {in_form(posixpath.normpath(name)) for name in file_names if "/" in name}
    tops = set()
    for member in infos:
        members[member.filename].append(member)
        tops.add(member.filename.partition("/")[0])
        name = in_form(member.filename)
        if not name.isascii():
            forms[name].append(member)
        end = next((end for end in _ends(name) if end in with_folder), None) if with_folder else None
        if end is not None:
            ends[end].append(member)
        base = posixpath.basename(name)
        if wanted[base] == 1:
            bases[base].append(member)
    # A name that is a member's whole name shows that names have the folder already.
    is_exact = not members.keys().isdisjoint(file_names)
    top = tops.pop() + "/" if len(tops) == 1 and not is_exact else ""
    return Zip(
        path=path,
        archive_bytes=archive_bytes,
        members=dict(members),
        forms=dict(forms),
        ends=dict(ends),
        bases=dict(bases),
        top=top,
    )


def _ends(name: str) -> Iterator[str]:
    """The name, and what is left of it without its first folder, its first two, and so on."""
    while name:
        yield name
        name = name.partition("/")[2]


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
    parts = member.filename.split("/")
    is_added = "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] == ".DS_Store"
    return not (member.is_dir() or is_link or (is_added and member.filename not in file_names))


def _not_a_zip(images: str, archive_bytes: int, start: bytes, error: Exception) -> str:
    if start.startswith(_SPLIT_MARK) or _PART_OF_A_SPLIT.search(images):
        return (
            f"images {shown(images)!r}: one part of a split archive. Join its parts (zip -s 0 split.zip --out "
            "whole.zip; for parts with numbers, cat x.zip.0* > x.zip), and give the whole zip"
        )
    if start.startswith(b"PK"):
        return f"images {shown(images)!r}: a torn zip of {archive_bytes} bytes ({error}); copy or download it again"
    kind = format_of(start)
    found = f"a file of {archive_bytes} bytes{f' ({kind})' if kind else ''}"
    return f"images {shown(images)!r}: not a zip but {found}; give a zip or a folder of images"
