"""Decode images: the bytes of a sample → an RGB array, or a `SampleError` that says why not.

A `SampleError` means that the image itself is bad, and is final. Errors of the machine are raised unchanged: the image
may be fine, and is tried again. Details go into a manifest, so they name no path of this machine. All functions are
thread-safe.

`pipeline/files/pictures.py` decides which formats are read and what decoding may cost.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from model.config import MAX_IMAGE_PIXELS
from pipeline.collection.colours import HighBytes, joined, low_bytes, to_rgb
from pipeline.collection.frames import frame_of, size_in, upright
from pipeline.collection.names import label_of
from pipeline.collection.whole import ends_grey, require_whole
from pipeline.errors import SampleError
from pipeline.files.pictures import check_pixels, decoded, orientation_of
from pipeline.records import Frame, Sample


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

    Args:    image_bytes: the image file, from `stores.read_bytes`.
             max_pixels: limit on height x width, checked before any pixel is decoded.
             default: the frame where its size does not tell.
    Returns: [H, W, 3] in 0..255, of the annotated size, writable.
    Raises:  SampleError: `too_many_pixels`, `size_mismatch`, `too_slow`, `too_large`, `undecodable`.
    """
    return decode_sample(sample, image_bytes, max_pixels=max_pixels, default=default).pixels


def decode_sample(sample: Sample, image_bytes: bytes, *, max_pixels: int, default: Frame) -> Decoded:
    """Decode as `decode` does, and tell the frame."""
    annotated_px = (sample.width, sample.height)
    label = label_of(sample)
    return decode_framed(label, image_bytes, max_pixels=max_pixels, annotated_px=annotated_px, default=default)


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
