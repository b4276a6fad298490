"""JPEGs that are torn although they end as they should, as far as that can be told for sure.

Decoders fill what is missing with grey and say nothing. If the data end early, they go on with whatever bytes stand
before the end of the file: two decodings, with and without some, differ only then.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.errors import SampleError
from pipeline.files.pictures import decoded
from pipeline.files.scan import jpeg

_CORNER_PX = 4
_FILLED_WITH = (127, 128)
"""The middle of all levels: 128, or 127 where colours are inverted."""


def ends_grey(image: Image.Image) -> bool:
    """Is the last corner of a decoded JPEG as grey as what decoders fill in? Then it may be torn."""
    if image.format not in ("JPEG", "MPO"):
        return False
    corner = image.crop((max(0, image.width - _CORNER_PX), max(0, image.height - _CORNER_PX), *image.size))
    return all(level in _FILLED_WITH for level in corner.tobytes())


def require_whole(label: str, content: bytes, *, max_pixels: int, ends_grey: bool) -> None:
    """Refuse a JPEG that is torn for sure. One whose missing part was filled with another image's data can't be told.

    Args:   ends_grey: see the function of that name.
    Raises: SampleError: `undecodable`.
    """
    if not jpeg.is_jpeg(content):
        return
    if at := jpeg.zeros(content):
        found = f"from byte {at} on, zeros stand in place of pixels, as in a download that was cut off"
        raise SampleError("undecodable", f"{label}: {found}")
    longer = jpeg.with_more_data(content) if ends_grey else b""
    if not longer:
        return
    one, other = (decoded(label, data, _pixels, max_pixels=max_pixels) for data in (content, longer))
    if not np.array_equal(one, other):
        raise SampleError("undecodable", f"{label}: its data end before its last pixel, though it has an end")


def _pixels(image: Image.Image) -> UInt8[np.ndarray, "..."]:
    return np.array(image)
