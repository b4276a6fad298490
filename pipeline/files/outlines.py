"""Small pictures with the outline of a mask, for sheets of examples. Pure."""

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

_LINE_RGB = (255, 240, 90)
_RIM_RGB = (20, 20, 24)
_AROUND = np.ones((3, 3), dtype=bool)


def outlined(picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a light line just inside the mask with dark lines on both sides: one of them shows on any photo."""
    inner = binary_erosion(mask, _AROUND)  # outside the picture counts as no mask, so a cut-off object is outlined too
    core = binary_erosion(inner, _AROUND)
    drawn = picture.copy()
    drawn[binary_dilation(mask, _AROUND) & ~mask] = _RIM_RGB
    drawn[inner & ~core] = (picture[inner & ~core] * 0.45).astype(np.uint8)
    drawn[mask & ~inner] = _LINE_RGB
    return drawn


def small(picture: Image.Image, side_px: int) -> Image.Image:
    """The picture in RGB, shrunk to that longer side if it is larger, in its own proportions."""
    shrunk = picture.convert("RGB")
    shrunk.thumbnail((side_px, side_px))
    return shrunk


def small_outlined(photo: Image.Image, mask: UInt8[np.ndarray, "h w"], side_px: int) -> Image.Image:
    """The same of a photo, with the outline of a mask. Args: mask: 255 inside, 0 outside; of the photo's size."""
    shrunk, coverage = small(photo, side_px), np.asarray(small(Image.fromarray(mask), side_px))[..., 0]
    threshold = min(max(int(coverage.max()), 1), 128)  # lower for a mask too thin to fill half a pixel
    return Image.fromarray(outlined(np.asarray(shrunk), coverage >= threshold))
