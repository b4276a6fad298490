"""Decode images: the bytes of a sample → an RGB array, or a `SampleError` that says why not.

A `SampleError` means that the image itself is bad, and is final. Errors of the machine are raised unchanged: the image
may be fine, and is tried again. Details go into a manifest, so they name no path of this machine. All functions are
thread-safe.

`pipeline/files/pictures.py` decides which formats are read and what decoding may cost.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.collection.config import MAX_IMAGE_PIXELS
from pipeline.collection.names import label_of
from pipeline.errors import SampleError
from pipeline.files.pictures import check_pixels, decoded, orientation
from pipeline.records import Sample

_BAND_PIXELS = 1 << 22


def decode(sample: Sample, image_bytes: bytes, *, max_pixels: int = MAX_IMAGE_PIXELS) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image of any supported format, which its content decides, not its name.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB; transparent ones are put on white; the first of several
    frames is used. An EXIF orientation is not applied: annotations count rows and columns as stored.

    Args:    image_bytes: the image file, from `stores.read_bytes`.
             max_pixels: limit on height x width, checked before any pixel is decoded.
    Returns: [H, W, 3] in 0..255, of the annotated size, writable.
    Raises:  SampleError: `too_many_pixels`, `size_mismatch`, `too_slow`, `too_large`, `undecodable`.
    """
    annotated_px = (sample.width, sample.height)
    return decode_rgb(label_of(sample), image_bytes, max_pixels=max_pixels, annotated_px=annotated_px)


def decode_rgb(
    label: str, image_bytes: bytes, *, max_pixels: int = MAX_IMAGE_PIXELS, annotated_px: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode as `decode` does, with or without an annotated size.

    Args:    label: names the image in messages.
             annotated_px: width and height that it must have.
    Raises:  SampleError: `too_many_pixels`, `size_mismatch`, `too_slow`, `too_large`, `undecodable`.
    """

    def convert(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
        _check_annotated(label, image.size, annotated_px)
        return _rgb(image)

    pixels = decoded(label, image_bytes, convert, max_pixels=max_pixels)
    size_px = pixels.shape[1], pixels.shape[0]
    check_pixels(label, size_px, max_pixels)
    _check_annotated(label, size_px, annotated_px)
    return pixels


def is_turned(image_bytes: bytes) -> bool:
    """Does a decodable image tell viewers to turn or mirror it (EXIF orientation)? `decode` does not do so."""
    return orientation(image_bytes) != 1


def _check_annotated(label: str, size_px: tuple[int, int], annotated_px: tuple[int, int] | None) -> None:
    if annotated_px is not None and size_px != annotated_px:
        annotated = f"{annotated_px[0]} x {annotated_px[1]} px as annotated"
        raise SampleError("size_mismatch", f"{label}: {size_px[0]} x {size_px[1]} px (width x height), not {annotated}")


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Convert in bands of rows: whole, an image would be in memory up to four times."""
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range to convert to 8 bits")
    is_transparent = image.has_transparency_data  # some formats change what this is read from when they decode
    image.load()
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // max(1, width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = image if bottom - top == height else image.crop((0, top, width, bottom))
        pixels[top:bottom] = _rgb_of_band(band, is_transparent=is_transparent)
    return pixels


def _rgb_of_band(band: Image.Image, *, is_transparent: bool) -> UInt8[np.ndarray, "..."]:
    if band.mode.startswith("I;16"):
        # Keep the high byte, as Pillow does for 16-bit colour.
        return (np.asarray(band) >> 8).astype(np.uint8)[:, :, None]
    if is_transparent:
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, "white"), band)
    return np.asarray(band if band.mode == "RGB" else band.convert("RGB"))
