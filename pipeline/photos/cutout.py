"""The salient object on a transparent background, as a picture to paste elsewhere."""

import numpy as np
from jaxtyping import Float, UInt8

from model.maps import encode_png, quantise_saliency


def draw_cutout(photo: UInt8[np.ndarray, "h w 3"], saliency: Float[np.ndarray, "h w"]) -> bytes:
    """Draw the cut-out: an RGBA PNG of the photo's size whose alpha is the saliency map.

    Colours are the photo's own, so that soft edges fit any background. Where alpha is 0 they are black: what was cut
    away is not in the file, and the file is smaller.
    """
    alpha = quantise_saliency(saliency)
    return encode_png(np.dstack([np.where(alpha[:, :, None] > 0, photo, np.uint8(0)), alpha]))
