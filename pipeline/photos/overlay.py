"""A picture to look at: the photo, darkened outside the salient object, with the mask's outline."""

import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from model.api.drawing import OUTLINE_RGB, outline_of
from model.maps import quantise_saliency
from pipeline.files.maps import mask_of

_SHADE = 0.3
"""Brightness where the saliency is 0."""


def draw_overlay(photo: UInt8[np.ndarray, "h w 3"], saliency: Float[np.ndarray, "h w"]) -> bytes:
    """Draw the picture: a JPEG of the photo's size."""
    shaded = photo * (_SHADE + (1 - _SHADE) * saliency[:, :, None])
    shaded[outline_of(mask_of(quantise_saliency(saliency)))] = OUTLINE_RGB
    buffer = io.BytesIO()
    Image.fromarray(np.rint(shaded).astype(np.uint8)).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
