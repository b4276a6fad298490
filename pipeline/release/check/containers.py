"""Whether PNGs, WebPs, tars, parquet files and folders hold what a release puts into them, and nothing else.

Pure, but for `links`.

Readers skip what they do not know: text in a picture, members behind a tar's end, owners and times of members. So does
a check that trusts them; here every byte must have a reason.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import StorageError
from pipeline.files import urls
from pipeline.files.tars import SampleTar

_PNG, _PARQUET = b"\x89PNG\r\n\x1a\n", b"PAR1"


def png_problem(content: bytes, size_px: tuple[int, int]) -> str:
    """What a PNG has that a map has not, "" if nothing: it needs one header, its pixels, and an end.

    Args: size_px: width and height that it states.
    """
    chunks = list(_chunks(content))
    names = [name for name, _, _ in chunks]
    pixels = names[1:-1]
    if not content.startswith(_PNG) or names[:1] != [b"IHDR"] or names[-1:] != [b"IEND"] or set(pixels) != {b"IDAT"}:
        unknown = sorted({_shown(name) for name in names} - {"IHDR", "IDAT", "IEND"})
        return f"has the chunks {', '.join(unknown)}" if unknown else "is not a header, pixels and an end"
    end = len(_PNG) + sum(12 + len(data) for _, data, _ in chunks)
    if end != len(content):
        return f"has {len(content) - end} bytes after its end"
    if not all(crc == zlib.crc32(name + data) for name, data, crc in chunks):
        return "has a chunk with a wrong checksum"
    width, height = size_px
    if chunks[0][1] != struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0) or chunks[-1][1]:
        return "is not an 8-bit grey picture without interlacing"
    return _pixels_problem(b"".join(data for _, data, _ in chunks[1:-1]), height * (width + 1))


def _pixels_problem(packed: bytes, expected_bytes: int) -> str:
    reader = zlib.decompressobj()
    try:
        found = len(reader.decompress(packed, expected_bytes + 1))
    except zlib.error as error:
        return f"has pixels that can't be unpacked: {error}"
    if found != expected_bytes or not reader.eof or reader.unused_data:
        return "has more or fewer bytes than pixels"
    return ""


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Name, data and stated checksum of every chunk of a PNG, as far as they are whole, up to its end."""
    place, name = len(_PNG), b""
    while place + 12 <= len(content) and name != b"IEND":
        (length,) = struct.unpack_from(">I", content, place)
        name, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        if place + 12 + length > len(content):
            return
        yield name, data, struct.unpack_from(">I", content, place + 8 + length)[0]
        place += 12 + length


def webp_problem(content: bytes) -> str:
    """What a WebP has besides one picture, "" if nothing."""
    if len(content) < 20 or (content[:4], content[8:12]) != (b"RIFF", b"WEBP"):
        return "is not a WebP"
    riff_bytes, picture_bytes = (struct.unpack_from("<I", content, place)[0] for place in (4, 16))
    kind, padded = content[12:16], picture_bytes + picture_bytes % 2
    if kind not in (b"VP8 ", b"VP8L"):
        return f"begins with the chunk {_shown(kind)}, so it has more than a picture"
    if not riff_bytes + 8 == padded + 20 == len(content):
        return f"has {len(content)} bytes; its picture ends after {padded + 20}"
    return ""


def parquet_problem(content: bytes) -> str:
    """What a parquet file has besides its columns and its footer, "" if nothing.

    Raises: pa.ArrowException: it is not a parquet file.
    """
    footer = pq.read_metadata(pa.BufferReader(content))  # a Python file would leave threads: see DECISIONS.md
    chunks = [
        footer.row_group(group).column(n) for group in range(footer.num_row_groups) for n in range(footer.num_columns)
    ]
    stored = sum(chunk.total_compressed_size for chunk in chunks)
    accounted = 2 * len(_PARQUET) + stored + footer.serialized_size + 4
    if accounted != len(content):
        return f"has {len(content)} bytes; its columns and footer account for {accounted}"
    return ""


class TarComparison:
    """Writes the samples of a tar again and compares the bytes, of which it keeps none."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._place = 0
        self._differs_from: int | None = None
        self._again = SampleTar(self)  # type: ignore[arg-type]

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Add the next sample of the tar."""
        try:
            self._again.add(key, members)
        except StorageError:  # no release has such a tar
            self._differ()

    def problem(self) -> str:
        """What else than its samples the tar has, "" if nothing; to be called once, after the last sample."""
        self._again.close()
        if self._differs_from is not None:
            return (
                f"has bytes from {self._differs_from} on that its samples do not account for: owners, times or "
                "padding of members, or something between them"
            )
        if self._place != len(self._content):
            return f"has {len(self._content) - self._place} bytes after its end"
        return ""

    def write(self, piece: bytes) -> int:
        """Compare the next bytes; called by the tar that is written."""
        end = self._place + len(piece)
        if self._content[self._place : end] != piece:
            self._differ()
        self._place = end
        return len(piece)

    def tell(self) -> int:
        """The number of bytes that were compared."""
        return self._place

    def _differ(self) -> None:
        if self._differs_from is None:
            self._differs_from = self._place


def links(release: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Files and folders of a release on the local disk that are symbolic links, and where each leads.

    The release's own folder may be one. Args: names: of files, relative to the release.
    """
    if not urls.is_local(release):
        return
    folder = urls.absolute(release)
    parts = {str(part) for name in names for part in (PurePosixPath(name), *PurePosixPath(name).parents)} - {"."}
    for part in sorted(parts):
        path = os.path.join(folder, part)
        if os.path.islink(path):
            yield part, os.readlink(path)


def _shown(name: Any) -> str:
    return ascii(name.decode("latin-1"))[1:-1]
