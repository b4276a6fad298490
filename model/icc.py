"""Colour profiles (ICC): looked through before the library that computes with them sees them.

A profile comes with the image, so anybody can have made it. What is let through describes one device by a few curves
and tables that are no larger than the profile itself.
"""

import struct
from collections.abc import Iterator

MOST_PROFILE_BYTES = 4 << 20
"""4 MiB: profiles of screens have a few hundred to a few thousand bytes, those of printing presses 0.5 to 3 million."""
MOST_TAGS = 100

_HEADER_BYTES = 128
_TAG = struct.Struct(">4sII")
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
"""Of one device or colour space. Links of devices, effects and lists of named colours are no description of pixels."""
_CONNECTION_SPACES = (b"XYZ ", b"Lab ")
_TABLES = tuple(f"{direction}{number}".encode() for direction in ("A2B", "B2A") for number in range(3))
_PROGRAMS = tuple(f"{direction}{number}".encode() for direction in ("D2B", "B2D") for number in range(4))
"""Sequences of any number of steps, which only version 4.3 knows and hardly any software writes."""


def is_plain(profile: bytes, space: bytes) -> bool:
    """Does a profile describe the colours of one device, within bounds?

    Args: space: the colour space of the pixels in four letters, such as `RGB `.
    """
    if not _HEADER_BYTES + 4 <= len(profile) <= MOST_PROFILE_BYTES or profile[36:40] != b"acsp":
        return False
    about = profile[12:16] in _CLASSES, profile[16:20] == space, profile[20:24] in _CONNECTION_SPACES
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    if not all(about) or count > MOST_TAGS or len(profile) < _HEADER_BYTES + 4 + count * _TAG.size:
        return False
    return all(_is_within(profile, name, start, length) for name, start, length in _tags(profile, count))


def _tags(profile: bytes, count: int) -> Iterator[tuple[bytes, int, int]]:
    return (_TAG.unpack_from(profile, _HEADER_BYTES + 4 + number * _TAG.size) for number in range(count))


def _is_within(profile: bytes, name: bytes, start: int, length: int) -> bool:
    """Is a tag within the profile, and not larger when it is unpacked?"""
    if start + length > len(profile) or name in _PROGRAMS:
        return False
    return name not in _TABLES or _table_bytes(profile[start : start + length]) <= length


def _table_bytes(tag: bytes) -> int:
    """Bytes of the table of colours that a tag claims to have; more than any tag has if it is of another kind."""
    kind = tag[:4]
    if len(tag) < 32 or kind not in (b"mft1", b"mft2", b"mAB ", b"mBA "):
        return MOST_PROFILE_BYTES + 1
    inputs, outputs = tag[8], tag[9]
    if kind in (b"mft1", b"mft2"):
        return int(tag[10] ** inputs * outputs * (1 if kind == b"mft1" else 2))
    at = int.from_bytes(tag[24:28])
    if not at:
        return 0  # curves and a matrix alone
    if len(tag) < at + 20:
        return MOST_PROFILE_BYTES + 1
    entries = outputs
    for points in tag[at : at + min(inputs, 16)]:
        entries *= points
    return entries * max(1, tag[at + 16])
