"""Read and decode images: a sample → its bytes → an RGB array, or a `SampleError` that says why not.

A `SampleError` means that the image itself is bad, and is final. Errors of the machine (I/O errors, lost connections,
no file handles, an archive or folder that has disappeared) are raised unchanged: the image may be fine, and is tried
again. Details go into a manifest, so they name no path of this machine. All functions are thread-safe.

`pipeline/files/pictures.py` decides which formats are read and what decoding may cost.
"""

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from jaxtyping import UInt8
from PIL import ExifTags, Image

from pipeline.collection.colours import HighBytes, joined, low_bytes, to_rgb
from pipeline.collection.config import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from pipeline.collection.frames import frame_of, size_in, upright
from pipeline.collection.whole import ends_grey, require_whole
from pipeline.errors import SampleError
from pipeline.files import urls
from pipeline.files.orientation import TURNS, orientation
from pipeline.files.pictures import check_pixels, decoded
from pipeline.files.ranges import read_range
from pipeline.records import STORED, Frame, Location, Sample

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
# Only the local header has the length of the extra field. In COCO's archives it is 28 bytes, and names take 32.
_HEADER_SLACK_BYTES = 256


def read_bytes(sample: Sample, *, max_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """Read the file of one image, from a folder or out of a zip.

    Args:    max_bytes: limit on the size of the image, and on the bytes it takes in the archive.
    Raises:  SampleError: the sample's own `problem`; `missing`, `unreadable`, `too_many_bytes`.
             OSError: the machine, the connection, or the whole archive or folder failed, not this image.
    """
    if sample.problem:
        raise SampleError(sample.problem, sample.problem_detail)
    if sample.location is None:
        raise _error(sample, "missing", "it has no location")
    is_file = sample.location.header_offset < 0
    return (_read_file if is_file else _read_member)(sample, sample.location, max_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The pixels of an image, and how they lie to those of its file."""

    pixels: UInt8[np.ndarray, "h w 3"]
    frame: Frame
    exif_orientation: int
    """1 to 8; 1 if the file asks for no turn."""


def decode(
    sample: Sample, image_bytes: bytes, *, max_pixels: int = MAX_IMAGE_PIXELS, default: Frame = "stored"
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image of any supported format, which its content decides, not its name.

    Whatever its mode and depth, it becomes 8 bits of sRGB (`colours.py`); transparent images are put on white; the
    first of several frames is used. Its pixels are in the frame that the annotated size tells (`frames.py`).

    Args:    image_bytes: the image file, from `read_bytes`.
             max_pixels: limit on height x width, checked before any pixel is decoded.
             default: the frame where its size does not tell.
    Returns: [H, W, 3] in 0..255, of the annotated size, writable.
    Raises:  SampleError: `too_many_pixels`, `size_mismatch`, `too_slow`, `too_large`, `undecodable`.
    """
    return decode_sample(sample, image_bytes, max_pixels=max_pixels, default=default).pixels


def decode_sample(sample: Sample, image_bytes: bytes, *, max_pixels: int, default: Frame) -> Decoded:
    """Decode as `decode` does, and tell the frame."""
    annotated_px = (sample.width, sample.height)
    return decode_framed(_label(sample), image_bytes, max_pixels=max_pixels, annotated_px=annotated_px, default=default)


def decode_rgb(
    label: str,
    image_bytes: bytes,
    *,
    max_pixels: int = MAX_IMAGE_PIXELS,
    annotated_px: tuple[int, int] | None = None,
    default: Frame = "stored",
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode as `decode` does, with or without an annotated size.

    Args:    label: names the image in messages.
             annotated_px: width and height that it must have.
    Raises:  SampleError: `too_many_pixels`, `size_mismatch`, `too_slow`, `too_large`, `undecodable`.
    """
    decoded_image = decode_framed(label, image_bytes, max_pixels=max_pixels, annotated_px=annotated_px, default=default)
    return decoded_image.pixels


def decode_framed(
    label: str, image_bytes: bytes, *, max_pixels: int, annotated_px: tuple[int, int] | None, default: Frame
) -> Decoded:
    """Decode as `decode_rgb` does, and tell the frame."""

    def convert(image: Image.Image) -> tuple[UInt8[np.ndarray, "h w 3"] | HighBytes, int, tuple[int, int], bool]:
        exif_orientation = orientation_of(image, image_bytes)
        _check_annotated(label, image.size, exif_orientation, annotated_px)
        found = to_rgb(image, image_bytes)
        return found, exif_orientation, image.size, ends_grey(image)

    found, exif_orientation, stored_px, is_suspect = decoded(label, image_bytes, convert, max_pixels=max_pixels)
    check_pixels(label, stored_px, max_pixels)
    _check_annotated(label, stored_px, exif_orientation, annotated_px)
    require_whole(label, image_bytes, max_pixels=max_pixels, ends_grey=is_suspect)
    if isinstance(found, HighBytes):
        found = joined(found, decoded(label, image_bytes, low_bytes, max_pixels=max_pixels))
    frame = frame_of(stored_px, exif_orientation, annotated_px, default)
    pixels = upright(found, exif_orientation) if frame == "upright" else found
    return Decoded(pixels=pixels, frame=frame, exif_orientation=exif_orientation)


def orientation_of(image: Image.Image, image_bytes: bytes) -> int:
    """The orientation of a file, 1 to 8; 1 for formats whose decoders turn the image themselves.

    Args: image: what was opened.
    """
    if image.format == "AVIF":  # the container says it in a way of its own, which Pillow translates
        stated = image.getexif().get(ExifTags.Base.Orientation, 1)
        return stated if stated in TURNS else 1
    return orientation(image_bytes)


def is_turned(image_bytes: bytes) -> bool:
    """Does a decodable image tell viewers to turn or mirror it? Pixels of the frame `stored` are not turned."""
    return orientation(image_bytes) != 1


def _check_annotated(
    label: str, stored_px: tuple[int, int], exif_orientation: int, annotated_px: tuple[int, int] | None
) -> None:
    possible = [size_in(frame, stored_px, exif_orientation) for frame in ("stored", "upright")]
    if annotated_px is None or annotated_px in possible:
        return
    found = f"{stored_px[0]} x {stored_px[1]} px (width x height)"
    if possible[0] != possible[1]:
        found += f", or {possible[1][0]} x {possible[1][1]} px if turned by its orientation {exif_orientation}"
    annotated = f"{annotated_px[0]} x {annotated_px[1]} px as annotated"
    raise SampleError("size_mismatch", f"{label}: {found}, not {annotated}")


def _read_file(sample: Sample, location: Location, max_bytes: int) -> bytes:
    fs, path = urls.resolve(location.path, chained=True)
    is_local = isinstance(fs, LocalFileSystem)
    try:
        # One byte over the limit shows that the file is too large. A local read is capped at the file's size because
        # Python allocates as much as requested: 64 MiB per image took 0.08 of the 0.13 ms of reading one.
        limit = min(max_bytes, os.path.getsize(path)) if is_local else max_bytes
        image_bytes = read_range(fs, path, 0, limit + 1)
    except FileNotFoundError as error:
        if is_local and not os.path.isdir(os.path.dirname(path)):
            raise  # the folder has disappeared, unmounted perhaps: that says nothing about its images
        raise _error(sample, "missing", "the file has disappeared since the collection was listed") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise _error(sample, "unreadable", error.strerror or type(error).__name__) from error
    except PermissionError as error:
        if not is_local:
            raise  # expired credentials concern the whole run
        raise _error(sample, "unreadable", error.strerror or type(error).__name__) from error
    if len(image_bytes) > max_bytes:
        raise _error(sample, "too_many_bytes", f"{_size(fs, path)}; the limit is {max_bytes}")
    return image_bytes


def _size(fs: AbstractFileSystem, path: str) -> str:
    size_bytes = None
    with suppress(Exception):  # an HTTP server may not tell
        size_bytes = fs.size(path)
    return "too many bytes" if size_bytes is None else f"{size_bytes} bytes"


def _read_member(sample: Sample, location: Location, max_bytes: int) -> bytes:
    """Read and check one member of a zip: local header, stored bytes, length, CRC-32."""
    # Where possible, these are the messages of `_read_file`: a release does not show whether images came in a zip.
    for claimed, unit in ((location.image_bytes, "bytes"), (location.stored_bytes, "bytes in the archive")):
        if claimed > max_bytes:
            raise _error(sample, "too_many_bytes", f"{claimed} {unit}; the limit is {max_bytes}")
    stored = _stored_bytes(sample, location)
    image_bytes = stored if location.compression == STORED else _inflate(sample, location, stored)
    if len(image_bytes) != location.image_bytes:
        found = f"{len(image_bytes)} bytes instead of {location.image_bytes}"
        raise _error(sample, "unreadable", f"member at {location.header_offset} has {found}")
    crc32 = zlib.crc32(image_bytes)
    if crc32 != location.crc32:
        found = f"CRC-32 {crc32:08x} instead of {location.crc32:08x}"
        raise _error(sample, "unreadable", f"member at {location.header_offset} has {found}")
    return image_bytes


def _stored_bytes(sample: Sample, location: Location) -> bytes:
    """The member's bytes as stored in the archive: one range read, or two if its header is unusually long."""
    fs, path = urls.resolve(location.path, chained=True)
    start = location.header_offset
    end = start + _LOCAL_HEADER.size + _HEADER_SLACK_BYTES + location.stored_bytes
    chunk = read_range(fs, path, start, end)
    where = f"member at {start}"
    if len(chunk) < _LOCAL_HEADER.size:
        raise _error(sample, "unreadable", f"{where}: the archive ends before it")
    signature, _, _, method, *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(chunk)
    if signature != b"PK\x03\x04" or method != location.compression:
        raise _error(sample, "unreadable", f"{where}: header {signature!r}, method {method}; has the archive changed?")
    skip = _LOCAL_HEADER.size + name_bytes + extra_bytes
    if skip + location.stored_bytes > end - start:
        chunk, skip = read_range(fs, path, start + skip, start + skip + location.stored_bytes), 0
    stored = chunk[skip : skip + location.stored_bytes]
    if len(stored) < location.stored_bytes:
        raise _error(sample, "unreadable", f"{where}: {len(stored)} of {location.stored_bytes} bytes, then it ends")
    return stored


def _inflate(sample: Sample, location: Location, stored: bytes) -> bytes:
    """Inflate at most one byte more than the member claims, so that a zip bomb is noticed and not unpacked."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        image_bytes = stream.decompress(stored, location.image_bytes + 1)
    except zlib.error as error:
        raise _error(sample, "unreadable", f"member at {location.header_offset}: {error}") from error
    if not stream.eof or stream.unused_data:
        found = f"{len(stored)} bytes do not inflate to the {location.image_bytes} claimed"
        raise _error(sample, "unreadable", f"member at {location.header_offset}: {found}")
    return image_bytes


def _error(sample: Sample, reason: str, found: str) -> SampleError:
    return SampleError(reason, f"{_label(sample)}: {found}")


def _label(sample: Sample) -> str:
    return f"{sample.key} ({sample.file_name[:200]!r})"
