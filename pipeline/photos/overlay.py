"""A picture to look at: the photo, darkened outside the salient object, with the mask's outline."""

import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy.ndimage import minimum_filter

from pipeline.files.maps import mask_of, quantise_saliency

_OUTLINE_RGB = (255, 60, 120)
_SHADE = 0.3
"""Brightness where the saliency is 0."""
_LINES_PER_SIDE = 250
"""The longer side divided by this is the width of the outline, at least one pixel."""


def draw_overlay(photo: UInt8[np.ndarray, "h w 3"], saliency: Float[np.ndarray, "h w"]) -> bytes:
    """Draw the picture: a JPEG of the photo's size."""
    shaded = photo * (_SHADE + (1 - _SHADE) * saliency[:, :, None])
    mask = mask_of(quantise_saliency(saliency))
    width_px = max(1, max(photo.shape) // _LINES_PER_SIDE)
    # Not Pillow's MinFilter: it reads the whole square around each pixel, which takes 10 s for 4000 x 3000, not 0.04 s.
    inner = minimum_filter(mask, 2 * width_px + 1, mode="nearest")
    shaded[mask & ~inner] = _OUTLINE_RGB
    buffer = io.BytesIO()
    Image.fromarray(np.rint(shaded).astype(np.uint8)).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
