"""The bytes of an image in a release: the collection's own, unless readers would show other pixels than were segmented.

Some readers turn an image as its metadata asks, others do not; many know no 16 bits, no CIE Lab and no newer formats. A
released image gives all of them the pixels that its maps lie on, at the cost of as few changed bytes as possible.
"""

import hashlib
import io
from dataclasses import dataclass

from PIL import ExifTags, Image

from pipeline.collection.colours import changes_colours, is_deep, profile_of
from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.files.formats import SUPPORTED
from pipeline.files.orientation import orientation, with_orientation_1
from pipeline.files.pictures import decoded
from pipeline.files.scan import tiff
from pipeline.files.scan.limits import OverBudgetError
from pipeline.records import Frame
from pipeline.release.source import Picked

RELEASED_AS = {
    "original": "the collection's file, byte for byte",
    "orientation_neutralised": "that file with 1 in the place of its orientation, so that nobody turns it",
    "turned_png": "a PNG of its pixels, turned as its orientation asks",
    "png": "a PNG of its pixels in 8 bits of sRGB, since common readers can't read them or show other ones",
}
"""What can have been done to an image."""
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")
"""Modes that every reader makes RGB of in one way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What a release has of an image."""

    released_as: str
    """One of RELEASED_AS; "" if the release does not have the image."""
    sha256: str
    file_bytes: int


NOT_RELEASED = Released(released_as="", sha256="", file_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What common readers see of a file before they decode it."""

    mode: str
    size_px: tuple[int, int]
    orientation: int
    """1 if readers that obey it see what the others see."""
    is_managed_cmyk: bool
    """Are its inks those of a profile, by which not all readers go?"""


def released_image(image: Picked, content: bytes) -> tuple[Released, bytes]:
    """Make the bytes that a release has of a predicted image; equal for equal libraries.

    Args: content: the collection's file.
    """
    size_px = image.sample.width, image.sample.height
    frame, exif_orientation = _frame(image, content)
    is_turned = frame == "upright" and exif_orientation != 1
    if not is_turned:
        neutral = content if exif_orientation == 1 else _neutralised(content)
        if _is_plain(neutral, size_px):
            return _named("original" if neutral == content else "orientation_neutralised", neutral)
    pixels = decode_rgb(
        image.sample.key, content, max_pixels=size_px[0] * size_px[1], annotated_px=size_px, default=frame
    )
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return _named("turned_png" if is_turned else "png", buffer.getvalue())


def as_readers_see(content: bytes, most_pixels: int) -> Seen:
    """Open a file as common readers do, with its metadata.

    Raises: SampleError: they can't read it, or it has more pixels.
    """

    def seen(image: Image.Image) -> Seen:
        return Seen(
            mode=image.mode,
            size_px=image.size,
            orientation=image.getexif().get(ExifTags.Base.Orientation, 1),
            is_managed_cmyk=image.mode == "CMYK" and changes_colours(profile_of(image, content), image.mode),
        )

    return decoded("image", content, seen, max_pixels=most_pixels, formats=SUPPORTED, as_it_is=True)


def _frame(image: Picked, content: bytes) -> tuple[Frame, int]:
    """The frame of an image's maps, and the orientation of its file."""
    if image.row.frame:
        return image.row.frame, image.row.exif_orientation
    # Runs of earlier versions did not record it: nothing was turned then but TIFFs, by their decoder.
    return "upright" if tiff.is_tiff(content) else "stored", orientation(content)


def _neutralised(content: bytes) -> bytes:
    try:
        return with_orientation_1(content)
    except OverBudgetError:
        return content


def _is_plain(content: bytes, size_px: tuple[int, int]) -> bool:
    """Do all common readers see these pixels, and none turns them?"""
    if is_deep(content):
        return False
    try:
        seen = as_readers_see(content, size_px[0] * size_px[1])
    except SampleError:
        return False
    return (seen.size_px, seen.orientation) == (size_px, 1) and seen.mode in _MODES and not seen.is_managed_cmyk


def _named(released_as: str, content: bytes) -> tuple[Released, bytes]:
    sha256 = hashlib.sha256(content).hexdigest()
    return Released(released_as=released_as, sha256=sha256, file_bytes=len(content)), content
