"""Saliency without learning, to see what a model adds: each function takes RGB as uint8 [h, w, 3] and gives its map.

A benchmark on which the middle of the picture scores well says little about models that score a little better.
"""

from functools import cache
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from pipeline.errors import ConfigError

_BOX_MARGIN = 0.1
"""What is left out on each side of GrabCut's box, as a share of the side."""
_GRABCUT_ROUNDS = 5
_GRABCUT_PX = 400
"""GrabCut works at this longer side: its time grows with the pixels, and its colours do not need more."""


def centre_prior(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """A Gaussian around the middle, whose standard deviation is a quarter of each side; the photo is not looked at."""
    height, width = image.shape[:2]
    down, across = (((np.arange(side) + 0.5) / side - 0.5) / 0.25 for side in (height, width))
    found: Float[np.ndarray, "h w"] = np.exp(-(down[:, None] ** 2 + across[None, :] ** 2) / 2)
    return found


def spectral_residual(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """What is unusual in the spectrum. Source: Hou & Zhang, CVPR 2007; computed by OpenCV."""
    return _computed(_saliency("StaticSaliencySpectralResidual_create"), image)


def fine_grained(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """Contrast of centre and surround at several scales. Source: Montabone & Soto 2010; computed by OpenCV."""
    return _computed(_saliency("StaticSaliencyFineGrained_create"), image)


def grabcut(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """What GrabCut finds in a box in the middle. Source: Rother, Kolmogorov & Blake, SIGGRAPH 2004; by OpenCV."""
    height, width = image.shape[:2]
    scale = min(1.0, _GRABCUT_PX / max(height, width))
    small_px = max(3, round(width * scale)), max(3, round(height * scale))
    small = cv2.resize(image, small_px, interpolation=cv2.INTER_AREA)
    left, top = (max(1, round(side * _BOX_MARGIN)) for side in small_px)
    box = left, top, max(1, small_px[0] - 2 * left), max(1, small_px[1] - 2 * top)
    mask, model = np.zeros(small.shape[:2], dtype=np.uint8), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.setRNGSeed(0)  # its first colours are drawn at random
    cv2.grabCut(small, mask, box, *model, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_RECT)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    whole: Bool[np.ndarray, "h w"] = cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    return whole


@cache
def _saliency(name: str) -> Any:
    """Raises: ConfigError: this OpenCV is without its contributed modules."""
    if not hasattr(cv2, "saliency"):
        raise ConfigError(
            "this OpenCV has no saliency module: pip uninstall opencv-python-headless, then pip install "
            "opencv-contrib-python-headless of the same version"
        )
    return getattr(cv2.saliency, name)()


def _computed(algorithm: Any, image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    is_done, found = algorithm.computeSaliency(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not is_done:
        raise ValueError("OpenCV gives no map of this photo")
    values: Float[np.ndarray, "h w"] = np.nan_to_num(found.astype(np.float64))  # a photo of one colour: 0 / 0
    values /= max(float(values.max()), np.finfo(np.float64).tiny)
    return values
