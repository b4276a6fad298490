"""The pictures that the audit page shows: an image with the pixels that its mask lies on, and its variance to look at.

Browsers show most released images as they are. Others, and those that a browser would turn, become a PNG of the pixels.
"""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from model.maps import encode_png
from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError, StorageError
from pipeline.files.formats import format_of
from pipeline.files.maps import decode_png, variance_picture
from pipeline.release.released import as_readers_see

SHOWN_BY_BROWSERS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp"}
"""Formats that every browser shows and every reader reads, as `format_of` names them → suffix of the file."""


def shown_image(row: Mapping[str, Any], content: bytes) -> tuple[str, bytes]:
    """Make the picture that a browser shows of a released image.

    Args:    row: the image's row of the manifest.
    Returns: suffix and content: the released bytes, or a PNG of the pixels that were segmented.
    Raises:  StorageError: the image can't be read, or has another size than its mask.
    """
    size_px = row["width"], row["height"]
    suffix = SHOWN_BY_BROWSERS.get(format_of(content))
    if suffix and _is_seen_right(content, size_px):
        return suffix, content
    try:
        pixels = decode_rgb(
            row["key"],
            content,
            max_pixels=size_px[0] * size_px[1],
            annotated_px=size_px,
            default=row.get("frame") or "stored",
        )
    except SampleError as error:
        raise StorageError(
            f"the release's image {row['key']} can't be shown ({error.detail}); sod release verify lists every problem"
        ) from error
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return "png", buffer.getvalue()


def shown_variance(key: str, content: bytes) -> bytes:
    """Make a PNG of a variance map to look at.

    Raises: StorageError: it is no map.
    """
    try:
        return encode_png(variance_picture(decode_png(content)))
    except ValueError as error:
        raise StorageError(f"the release's variance map of {key}: {error}") from error


def _is_seen_right(content: bytes, size_px: tuple[int, int]) -> bool:
    """Does a browser, which turns images as they ask, show the pixels as they lie under the mask?"""
    try:
        seen = as_readers_see(content, size_px[0] * size_px[1])
    except SampleError:
        return False
    return seen.size_px == size_px and seen.orientation == 1
