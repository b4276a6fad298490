"""Walk through the headers of a tar: where each member's bytes are, without reading them.

Python's `tarfile` believes the lengths that a tar claims; here every one is held against the size of the file first.
Read are ustar, GNU's long names, pax (path and size) and sizes in base 256. Nothing is unpacked or followed: links,
devices and sparse members are named with what they are, and whoever wants their bytes gets that as the reason.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK_BYTES = 512
"""Headers have this size, and contents are padded to it."""
_MOST_EXTRA_BYTES = 64 << 10
"""The largest header of a name: file systems end names at 4 KB."""
_MOST_ZEROS_BYTES = 1 << 20
"""Padding after the end that is walked through to find another tar behind it, as `cat` joins them."""
_HEADER = struct.Struct("100s24x12s12x8s1s100x8s80x155s12x")
_NO_CONTENT = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
}
_PLAIN = (b"0", b"\0", b"7")
_ZEROS = bytes(BLOCK_BYTES)

Read = Callable[[int, int], bytes]
"""Bytes of the file from a position up to, but not including, another one; fewer at its end."""


class TornTarError(Exception):
    """The file is no tar from here on, so nobody knows what else it has."""


class Header(NamedTuple):
    """One member of a tar."""

    name: str
    """As the tar has it."""
    header: bytes
    """The block before its content, by which a reader sees that it still is this member."""
    start: int
    """Where its content begins in the file."""
    content_bytes: int
    problem: str
    """What it is instead of a plain file, in words; "" for a plain file."""


def walk(read: Read, file_bytes: int) -> Iterator[Header]:
    """Yield every member of a tar, folders and links too, in the order of the file.

    Args:   file_bytes: the size of the file.
    Raises: TornTarError: it is no tar, is cut off, or has a length that leads beyond its end.
    """
    position, zeros, ended = 0, 0, False
    extra = _Extra()
    while position + BLOCK_BYTES <= file_bytes and zeros <= _MOST_ZEROS_BYTES:
        block = read(position, position + BLOCK_BYTES)
        if block == _ZEROS:
            ended, zeros, position = True, zeros + BLOCK_BYTES, position + BLOCK_BYTES
            continue
        if ended and not _is_header(block):
            return  # other tools do not look at what is behind the end either
        ended, zeros = False, 0
        fields = _fields(block, position)
        start, length = position + BLOCK_BYTES, fields.length
        if fields.kind in (b"x", b"L"):
            _require_inside(start, length, file_bytes)
            extra.read(fields.kind, b"" if length > _MOST_EXTRA_BYTES else read(start, start + length), length)
        elif fields.kind not in (b"g", b"K"):
            length = 0 if fields.kind in _NO_CONTENT else length if extra.length is None else extra.length
            start = _after_sparse_map(read, block, start, file_bytes) if fields.kind == b"S" else start
            _require_inside(start, length, file_bytes)
            yield Header(extra.name or fields.name, block, start, length, extra.problem or _problem(fields.kind))
            extra = _Extra()
        position = start + -(-length // BLOCK_BYTES) * BLOCK_BYTES
    if not ended:
        raise TornTarError(f"it ends at byte {file_bytes} without the mark of its end")


class _Fields(NamedTuple):
    name: str
    length: int
    kind: bytes


class _Extra:
    """What headers before a member say of it, because its own has too little room."""

    def __init__(self) -> None:
        self.name, self.problem = "", ""
        self.length: int | None = None

    def read(self, kind: bytes, content: bytes, length: int) -> None:
        if length > _MOST_EXTRA_BYTES:
            self.problem = f"a member with a header of {length} bytes"
        elif kind == b"L":
            self.name = _text(content)
        else:
            self._read_pax(content)

    def _read_pax(self, content: bytes) -> None:
        while content:
            digits, _, _ = content.partition(b" ")
            length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
            record = content[len(digits) + 1 : length - 1]
            name, mark, value = record.partition(b"=")
            if not mark or not 0 < length <= len(content):
                self.problem = "a member with a torn pax header"
                return
            if name in (b"path", b"GNU.sparse.name"):
                self.name = _text(value)
            elif name == b"size":
                self.length = int(value) if value.isdigit() and len(value) < 20 else _BEYOND
            if name.startswith(b"GNU.sparse."):
                self.problem = "a sparse file"
            content = content[length:]


_BEYOND = 1 << 62


def _is_header(block: bytes) -> bool:
    claimed = _number(block[148:156])
    return claimed == sum(block) - sum(block[148:156]) + 8 * ord(" ")


def _fields(block: bytes, position: int) -> _Fields:
    if len(block) < BLOCK_BYTES or not _is_header(block):
        raise TornTarError(f"at byte {position} is no header")
    name, size, _, kind, magic, prefix = _HEADER.unpack(block)
    length = _number(size)
    if length is None:
        raise TornTarError(f"the member at byte {position} has no size")
    text = _text(name)
    # GNU's own format has other fields where POSIX has the first part of a long name.
    if magic.startswith(b"ustar\0") and prefix[0]:
        text = f"{_text(prefix)}/{text}"
    return _Fields(text, length, kind)


def _number(field: bytes) -> int | None:
    """An octal number, or one in base 256 whose first bit is set; None if it is neither, or negative."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    digits = field.rstrip(b" \0").lstrip(b" ")
    try:
        return int(digits or b"0", 8) if digits.isdigit() or not digits else None
    except ValueError:  # a digit of 8 or 9
        return None


def _text(field: bytes) -> str:
    """A name; one that is not UTF-8 byte by byte, so that it can be stored and shown."""
    name = field.partition(b"\0")[0]
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _problem(kind: bytes) -> str:
    if kind in _PLAIN:
        return ""
    return _NO_CONTENT.get(kind) or ("a sparse file" if kind == b"S" else f"a member of type {kind!r}")


def _require_inside(start: int, length: int, file_bytes: int) -> None:
    if start + length > file_bytes:
        raise TornTarError(f"{length} bytes at {start} lead beyond its end at {file_bytes}")


def _after_sparse_map(read: Read, block: bytes, start: int, file_bytes: int) -> int:
    """Where the content of an old GNU sparse file begins: behind the blocks that go on with its map."""
    is_longer = block[482]
    while is_longer and start + BLOCK_BYTES <= file_bytes:
        is_longer = read(start, start + BLOCK_BYTES)[504]
        start += BLOCK_BYTES
    return start
