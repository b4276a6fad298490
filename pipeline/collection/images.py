"""Read and decode images: a sample → its bytes → an RGB array, or a `SampleError` that says why not.

A `SampleError` means that the image itself is bad, and is final. Errors of the machine (I/O errors, lost connections,
no memory or file handles, an archive or folder that has disappeared) are raised unchanged: the image may be fine, and
is tried again. Details go into a manifest, so they name no path of this machine. All functions are thread-safe.
"""

import io
import os
import re
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
from fsspec.implementations.local import LocalFileSystem
from jaxtyping import UInt8

# Pillow imports plugins at their first use; out of file handles then, it would call every image unknown.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pipeline.collection.config import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from pipeline.errors import SampleError
from pipeline.files import urls
from pipeline.records import STORED, Location, Sample

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
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


def decode(sample: Sample, image_bytes: bytes, *, max_pixels: int = MAX_IMAGE_PIXELS) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image of any supported format, which its content decides, not its name.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB; transparent ones are put on white; the first of several
    frames is used. An EXIF orientation is not applied: annotations count rows and columns as stored.

    Args:    image_bytes: the image file, from `read_bytes`.
             max_pixels: limit on height x width, checked before any pixel is decoded.
    Returns: [H, W, 3] in 0..255, of the annotated size, writable.
    Raises:  SampleError: `too_many_pixels`, `size_mismatch`, `undecodable`.
    """
    annotated_px = (sample.width, sample.height)
    return decode_rgb(_label(sample), image_bytes, max_pixels=max_pixels, annotated_px=annotated_px)


def decode_rgb(
    label: str, image_bytes: bytes, *, max_pixels: int = MAX_IMAGE_PIXELS, annotated_px: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode as `decode` does, with or without an annotated size.

    Args:    label: names the image in messages.
             annotated_px: width and height that it must have.
    Raises:  SampleError: `too_many_pixels`, `size_mismatch`, `undecodable`.
    """
    _ignore_pillow_warnings()
    try:
        with Image.open(io.BytesIO(image_bytes), formats=_FORMATS) as image:
            _check_size(label, image.size, max_pixels, annotated_px)
            pixels = _rgb(image)
        _check_size(label, (pixels.shape[1], pixels.shape[0]), max_pixels, annotated_px)
    except (SampleError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise SampleError("too_many_pixels", f"{label}: {error}; the limit is {max_pixels} pixels") from error
    except Exception as error:
        # Pillow has no error class for broken images: SyntaxError, ValueError, struct.error, OSError and others were
        # seen. An OSError from the system has an errno, one about the image has none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Pillow's message has the address of its file object, which differs from run to run.
        message = _ADDRESS.sub("", str(error))[:200]
        found = f"{len(image_bytes)} bytes that begin with {image_bytes[:12]!r}"
        raise SampleError("undecodable", f"{label}: {type(error).__name__}: {message!r}; {found}") from error
    return pixels


def is_turned(image_bytes: bytes) -> bool:
    """Does a decodable image tell viewers to turn or mirror it (EXIF orientation)? `decode` does not do so."""
    with (
        suppress(Exception),  # nonsense in EXIF raises anything, and counts as no orientation
        Image.open(io.BytesIO(image_bytes), formats=_FORMATS) as image,
    ):
        return bool(image.getexif().get(ExifTags.Base.Orientation, 1) != 1)
    return False


def _check_size(label: str, size_px: tuple[int, int], max_pixels: int, annotated_px: tuple[int, int] | None) -> None:
    width, height = size_px
    if width * height > max_pixels:
        raise SampleError("too_many_pixels", f"{label}: {width} x {height} px; the limit is {max_pixels} pixels")
    if annotated_px is not None and size_px != annotated_px:
        annotated = f"{annotated_px[0]} x {annotated_px[1]} px as annotated"
        raise SampleError("size_mismatch", f"{label}: {width} x {height} px (width x height), not {annotated}")


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    if image.mode.startswith("I;16"):
        # Keep the high byte, as Pillow does for 16-bit colour.
        grey = (np.array(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range to convert to 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _ignore_pillow_warnings() -> None:
    """Silence Pillow's warnings (corrupt EXIF and the like): an image decodes, or raises a `SampleError`.

    The filter stays set: `warnings.catch_warnings` is not thread-safe, and would restore other threads' filters.
    """
    if warnings.filters[:1] != [_QUIET]:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)


def _read_file(sample: Sample, location: Location, max_bytes: int) -> bytes:
    fs, path = urls.resolve(location.path, chained=True)
    is_local = isinstance(fs, LocalFileSystem)
    try:
        # One byte over the limit shows that the file is too large. A local read is capped at the file's size because
        # Python allocates as much as requested: 64 MiB per image took 0.08 of the 0.13 ms of reading one.
        limit = min(max_bytes, os.path.getsize(path)) if is_local else max_bytes
        image_bytes = bytes(fs.cat_file(path, start=0, end=limit + 1))
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
        raise _error(sample, "too_many_bytes", f"{fs.size(path)} bytes; the limit is {max_bytes}")
    return image_bytes


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
    chunk = bytes(fs.cat_file(path, start=start, end=end))
    where = f"member at {start}"
    if len(chunk) < _LOCAL_HEADER.size:
        raise _error(sample, "unreadable", f"{where}: the archive ends before it")
    signature, _, _, method, *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(chunk)
    if signature != b"PK\x03\x04" or method != location.compression:
        raise _error(sample, "unreadable", f"{where}: header {signature!r}, method {method}; has the archive changed?")
    skip = _LOCAL_HEADER.size + name_bytes + extra_bytes
    if skip + location.stored_bytes > end - start:
        chunk, skip = bytes(fs.cat_file(path, start=start + skip, end=start + skip + location.stored_bytes)), 0
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
