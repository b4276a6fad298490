"""Decode image files: no other module of the pipeline calls `Image.open`.

Owns which formats are read, and what a decoder may cost. Before a file is decoded, `scan` looks at what it is made of:
metadata is kept from the decoder, and a file that asks for more work or memory than its pixels justify is refused. Only
counts decide, so an image gets the same row on every machine. `in_flight` bounds what all threads decode at once.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import TypeVar

# Pillow imports plugins at their first use; out of file handles then, it would call every image unknown.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from pipeline.errors import SampleError
from pipeline.files.formats import SUPPORTED, WITH_CODEC, codec_advice, format_of
from pipeline.files.in_flight import BYTES_PER_CANVAS_PIXEL, BYTES_PER_PIXEL, budget, require_memory
from pipeline.files.orientation import TURNS, orientation, with_orientation_1
from pipeline.files.scan import bmp, gif, jpeg, jpeg2000, jpegxl, png, tiff, webp
from pipeline.files.scan.limits import OverBudgetError

# Pillow's limit on pixels holds for the whole process and knows nothing of a run's. `decoded` checks the run's.
Image.MAX_IMAGE_PIXELS = None

with suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()
with suppress(ImportError):
    import pillow_jxl  # noqa: F401

Converted = TypeVar("Converted")

_IN_PILLOW = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
OPENED = SUPPORTED + tuple(
    name
    for name in dict.fromkeys(WITH_CODEC.values())
    if name in Image.OPEN and (name not in _IN_PILLOW or features.check(_IN_PILLOW[name]))
)
"""Formats that are decoded here, by Pillow's names: `SUPPORTED`, and those of which a codec is installed."""

START_BYTES = 32 << 10
"""Bytes in which most JPEGs have their size: metadata of cameras takes 10 to 20 KB, a thumbnail included.

Files of other formats are read whole, since an orientation may stand behind their pixels."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def decoded(
    label: str,
    content: bytes,
    convert: Callable[[Image.Image], Converted],
    *,
    max_pixels: int | None,
    formats: tuple[str, ...] = OPENED,
    as_it_is: bool = False,
) -> Converted:
    """Open an image and return what `convert` makes of it.

    Args:   label: names the image in messages.
            content: the whole file.
            convert: gets the image before its pixels are decoded, and without the metadata that does not decide them.
                     Meanwhile the pixels are in flight, so it must not decode another image.
            max_pixels: limit on height x width, checked before any pixel is decoded; None: `convert` checks the size.
            formats: some of `OPENED`.
            as_it_is: give `convert` what any reader sees, metadata and all; a TIFF is turned by its tag then.
    Raises: SampleError: `too_many_pixels`, `too_slow`, `too_large`; `undecodable`: it is no whole image, or `convert`
                         raised an error.
            OSError: the machine failed, not the file.
    """

    def attempt(taken: Callable[[int], AbstractContextManager[None]]) -> Converted:
        with _blaming(label, content), ExitStack() as held:
            seen = _prepared(content)
            is_alone = format_of(content[:512]) in WITH_CODEC
            if is_alone:  # what its decoder takes is bounded by the decoder's own limits only, some 2 GB
                held.enter_context(taken(budget().most))
            early_px = next((size_px(content) for begins, size_px in _SIZES_BEFORE if begins(content)), None)
            if early_px:
                check_pixels(label, early_px, max_pixels)
                if not is_alone:
                    held.enter_context(taken(early_px[0] * early_px[1]))
                require_memory(early_px[0] * early_px[1] * BYTES_PER_CANVAS_PIXEL)
            image = held.enter_context(Image.open(io.BytesIO(content if as_it_is else seen), formats=formats))
            check_pixels(label, image.size, max_pixels)
            if not early_px:
                if not is_alone:
                    held.enter_context(taken(image.width * image.height))
                require_memory(image.width * image.height * BYTES_PER_PIXEL)
            return convert(image)

    _ignore_pillow_warnings()
    try:
        return attempt(budget().taken)
    except MemoryError:
        pass  # other threads may have had the memory
    with budget().taken(budget().most):
        try:
            return attempt(lambda _: nullcontext())
        except MemoryError as error:
            raise SampleError("too_large", f"{label}: there is not enough memory to decode it, even alone") from error


@contextmanager
def _blaming(label: str, content: bytes) -> Iterator[None]:
    """Translate errors about the image into `SampleError`; errors of the machine pass."""
    try:
        yield
    except (SampleError, MemoryError):
        raise
    except OverBudgetError as error:
        raise SampleError(error.reason, f"{label}: {error.found}") from error
    except Exception as error:
        # Pillow has no error class for broken images: SyntaxError, ValueError, struct.error, OSError and others were
        # seen. An OSError from the system has an errno, one about the image has none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Pillow's message has the address of its file object, which differs from run to run.
        message = _ADDRESS.sub("", str(error))[:200]
        found = f"{len(content)} bytes that begin with {content[:12]!r}"
        kind = format_of(content[:512])
        if WITH_CODEC.get(kind, kind) not in OPENED:
            found += f" ({kind or 'an unknown format'}); supported are {supported_in_words()}"
        if kind in WITH_CODEC and WITH_CODEC[kind] not in OPENED:
            found += f". {codec_advice(kind)}"
        raise SampleError("undecodable", f"{label}: {type(error).__name__}: {message!r}; {found}") from error


def supported_in_words() -> str:
    """The formats that are decoded here, as a list in a sentence."""
    return ", ".join(OPENED)


def check_pixels(label: str, size_px: tuple[int, int], max_pixels: int | None) -> None:
    """Refuse an image of too many pixels.

    Args:   size_px: width and height.
    Raises: SampleError: `too_many_pixels`.
    """
    width, height = size_px
    if max_pixels is not None and width * height > max_pixels:
        raise SampleError("too_many_pixels", f"{label}: {width} x {height} px; the limit is {max_pixels} pixels")


def size_in_start(start: bytes) -> tuple[int, int, int] | None:
    """Width, height and orientation of an image, from its first bytes; None if these are not enough to know them."""
    try:
        size = jpeg.size_px(start) if jpeg.is_jpeg(start) else png.size_px(start) if png.is_png(start) else None
    except OverBudgetError:  # whoever reads the whole file says so
        return None
    return (*size, orientation(start)) if size else None


def size_and_orientation(label: str, content: bytes) -> tuple[int, int, int]:
    """Width, height and orientation of a whole image file; its pixels are not decoded.

    Raises: SampleError: as `decoded`.
    """
    return decoded(
        label, content, lambda image: (image.width, image.height, orientation_of(image, content)), max_pixels=None
    )


def orientation_of(image: Image.Image, image_bytes: bytes) -> int:
    """The orientation of a file, 1 to 8; 1 for formats whose decoders turn the image themselves.

    Args: image: what was opened.
    """
    if image.format == "AVIF":  # the container says it in a way of its own, which Pillow translates
        stated = image.getexif().get(ExifTags.Base.Orientation, 1)
        return stated if stated in TURNS else 1
    return orientation(image_bytes)


def _prepared(content: bytes) -> bytes:
    """The bytes that the decoder gets to see."""
    return next((prepared(content) for begins, prepared in _SCANS if begins(content)), content)


def _unturned_tiff(content: bytes) -> bytes:
    """A TIFF that says nothing of its orientation: Pillow would turn it while it decodes."""
    return with_orientation_1(tiff.prepared(content))


_SCANS = (
    (jpeg.is_jpeg, jpeg.prepared),
    (png.is_png, png.prepared),
    (webp.is_webp, webp.prepared),
    (gif.is_gif, gif.prepared),
    (bmp.is_bmp, bmp.prepared),
    (tiff.is_tiff, _unturned_tiff),
    (jpeg2000.is_jpeg2000, jpeg2000.prepared),
)
_SIZES_BEFORE = (
    (webp.is_webp, webp.size_px),
    (jpeg2000.is_jpeg2000, jpeg2000.size_px),
    (jpegxl.is_jpegxl, jpegxl.size_px),
)
"""Of formats whose decoders reserve memory or decode when they open a file, or go by another size than Pillow does."""


def _ignore_pillow_warnings() -> None:
    """Silence Pillow's warnings (corrupt EXIF and the like): an image decodes, or raises an error.

    The filter stays set: `warnings.catch_warnings` is not thread-safe, and would restore other threads' filters.
    """
    if warnings.filters[:1] != [_QUIET]:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)
