"""TIFF: directories, strips, tiles, and the scans of JPEGs inside are counted before anything is decoded."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.files.scan.jpeg import MOST_SCANNED_SAMPLES, SCANS_OF_ANY_IMAGE
from pipeline.files.scan.limits import OverBudgetError, require_few_parts

MOST_ENTRIES = 4096
"""Entries of a directory; the standard knows a few hundred."""
MOST_VALUES = 1_000_000
"""Numbers in a directory. Pillow turns each into a Python object."""
MOST_VALUE_BYTES = 256 << 20
"""Bytes of all values of a directory, 256 MiB: entries may share bytes of the file, and each gets a copy."""
PADDING_OF_ANY_IMAGE_PX = 64_000_000
"""Pixels that tiles may have beyond four times the image's."""

_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TEXT = (1, 2, 6, 7)
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_BYTE_ORDERS: Mapping[str, Literal["little", "big"]] = {"<": "little", ">": "big"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _ROWS_PER_STRIP, _HIGHEST = 256, 257, 258, 259, 278, 281
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_PARTS = (273, 279, 324, 325)
"""Offsets and lengths of strips, and of tiles."""
_ORIENTATION, _XMP = 274, 700
_SHORT = 3
_JPEG = (6, 7)
_DIRECTORIES = (34665, 34853, 40965)
"""Exif, GPS, interoperability: Pillow reads them with the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    kind: int
    count: int
    """How many values there are, as far as the file can have them."""
    first: int
    """The first value, if it is an integer that the file has; else 0."""
    place: int
    """Where the entry itself begins."""
    at: int
    """Where its values begin: in the entry, or elsewhere."""

    @property
    def end(self) -> int:
        """Where its values end, as far as the file has them."""
        return self.at + self.count * _VALUE_BYTES[self.kind]


def prepared(content: bytes) -> bytes:
    """The file as it is.

    Raises: OverBudgetError: `too_slow`: too many entries, values, strips, tiles or scans; `too_large`: tiles far larger
            than the image.
    """
    entries = directory(content)
    _check_image(content, entries)
    for tag in _DIRECTORIES[:2]:
        if tag in entries:
            inner = _entries(content, entries[tag].first)
            if _DIRECTORIES[2] in inner:
                _entries(content, inner[_DIRECTORIES[2]].first)
    if _DIRECTORIES[2] in entries:
        _entries(content, entries[_DIRECTORIES[2]].first)
    return content


def directory(content: bytes) -> Mapping[int, _Entry]:
    """Tag → entry of the first directory of a TIFF or an Exif block; empty if there is none.

    Raises: OverBudgetError: `too_slow`.
    """
    order = _order(content)
    if not order or len(content) < 16:
        return {}
    if _is_big(content):
        return _entries(content, *struct.unpack_from(order + "Q", content, 8))
    return _entries(content, *struct.unpack_from(order + "I", content, 4))


def is_tiff(content: bytes) -> bool:
    """Does the file begin as a TIFF does?"""
    return bool(_order(content))


def orientation(content: bytes) -> int | None:
    """The orientation that a TIFF or an Exif block states; None if it states none.

    Raises: OverBudgetError: `too_slow`, `too_large`: as `directory`.
    """
    found = directory(content).get(_ORIENTATION)
    return None if found is None else found.first


def with_orientation_1(content: bytes) -> bytes:
    """A TIFF or an Exif block with 1 as its orientation, if it states one; all other bytes stay.

    Raises: OverBudgetError: `too_slow`, `too_large`: as `directory`.
    """
    found = directory(content).get(_ORIENTATION)
    if found is None:
        return content
    form = _order(content) + ("HHQH6x" if _is_big(content) else "HHIH2x")
    entry = struct.pack(form, _ORIENTATION, _SHORT, 1, 1)
    return content[: found.place] + entry + content[found.place + len(entry) :]


def xmp(content: bytes) -> Iterator[tuple[int, int]]:
    """Where the XMP of a TIFF stands, if it has any: start and end.

    Raises: OverBudgetError: `too_slow`, `too_large`: as `directory`.
    """
    found = directory(content).get(_XMP)
    if found is not None:
        yield found.at, found.end


def sample_bits(content: bytes) -> int:
    """Bits of a sample that a TIFF says it uses; 0 if it does not say."""
    entries = directory(content)
    bits = entries[_BITS].first if _BITS in entries else 0
    highest = entries[_HIGHEST].first if _HIGHEST in entries else 0
    return min(bits, highest.bit_length()) if highest else bits


def _order(content: bytes) -> str:
    if content[:2] not in (b"II", b"MM") or content[2:4] not in (b"*\0", b"\0*", b"+\0", b"\0+"):
        return ""
    return "<" if content[:2] == b"II" else ">"


def _is_big(content: bytes) -> bool:
    return b"+" in content[2:4]


def _entries(content: bytes, at: int) -> dict[int, _Entry]:
    """The entries of the directory at an offset, as far as the file has them; the first one of each tag."""
    order, is_big = _order(content), _is_big(content)
    head, entry = (struct.Struct(order + "Q"), struct.Struct(order + "HHQ8s")) if is_big else (
        struct.Struct(order + "H"), struct.Struct(order + "HHI4s"))  # fmt: skip
    if at + head.size > len(content):
        return {}
    (claimed,) = head.unpack_from(content, at)
    start = at + head.size
    count = min(claimed, (len(content) - start) // entry.size)
    if count > MOST_ENTRIES:
        raise OverBudgetError("too_slow", f"a directory of {claimed} entries; the limit is {MOST_ENTRIES}")
    found: dict[int, _Entry] = {}
    for place in range(start, start + count * entry.size, entry.size):
        tag, kind, values, inline = entry.unpack_from(content, place)
        if kind not in _VALUE_BYTES:
            continue
        fits = values * _VALUE_BYTES[kind] <= len(inline)
        at = place + entry.size - len(inline) if fits else int.from_bytes(inline, _BYTE_ORDERS[order])
        letter = _INTEGERS.get(kind)
        is_there = letter and values and at + _VALUE_BYTES[kind] <= len(content)
        first = struct.unpack_from(order + str(letter), content, at)[0] if is_there else 0
        possible = min(values, len(content) // _VALUE_BYTES[kind])
        found.setdefault(tag, _Entry(kind=kind, count=possible, first=first, place=place, at=at))
    _check_values(found)
    return found


def _check_values(entries: Mapping[int, _Entry]) -> None:
    for tag in _PARTS:
        if tag in entries:
            require_few_parts(entries[tag].count, "strips or tiles")
    numbers = sum(entry.count for entry in entries.values() if entry.kind not in _TEXT)
    if numbers > MOST_VALUES:
        raise OverBudgetError("too_slow", f"a directory of {numbers} numbers; the limit is {MOST_VALUES}")
    value_bytes = sum(entry.count * _VALUE_BYTES[entry.kind] for entry in entries.values())
    if value_bytes > MOST_VALUE_BYTES:
        raise OverBudgetError("too_large", f"a directory of {value_bytes} bytes; the limit is {MOST_VALUE_BYTES}")


def _check_image(content: bytes, entries: Mapping[int, _Entry]) -> None:
    """Compare the pixels of strips and tiles, and of the scans within them, with those of the image."""
    width, height, rows, tile_width, tile_height = (
        entries[tag].first if tag in entries else 0
        for tag in (_WIDTH, _HEIGHT, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT)
    )
    pixels = width * height
    if tile_width and tile_height:
        part_px = tile_width * tile_height
        all_px = part_px * -(-width // tile_width) * -(-height // tile_height)
    else:
        part_px, all_px = width * min(rows or height, height), pixels
    if all_px > 4 * pixels + PADDING_OF_ANY_IMAGE_PX:
        found = f"tiles of {tile_width} x {tile_height} px for an image of {width} x {height} px"
        raise OverBudgetError("too_large", found)
    if _COMPRESSION in entries and entries[_COMPRESSION].first in _JPEG:
        samples = 3 * part_px * content.count(b"\xff\xda")
        if samples > max(3 * SCANS_OF_ANY_IMAGE * all_px, MOST_SCANNED_SAMPLES):
            raise OverBudgetError("too_slow", f"JPEGs with scans of {samples} samples for {pixels} pixels")
