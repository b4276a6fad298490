"""What a network is given for an image, and what its map says about the image's own pixels. Pure.

Both ways are resized by Pillow's bilinear filter, which averages over all pixels that it leaves out. The published code
mostly takes single pixels instead (torch's `interpolate`), so masks may differ from it along edges.
"""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from scipy.special import expit

from model.prediction import ModelOutputError
from pipeline.networks.presets import MapValues, Signature

_ROUNDING = 1e-3
"""How far a probability may lie outside [0, 1]: half precision is as coarse as this near 1."""


def network_input(
    image: UInt8[np.ndarray, "h w 3"], signature: Signature, height_px: int, width_px: int
) -> Float32[np.ndarray, "1 3 ph pw"]:
    """The image as a batch of one, in the colours that the network was trained with."""
    resized = Image.fromarray(image).resize((width_px, height_px), Image.Resampling.BILINEAR)
    values = np.asarray(resized, dtype=np.float32)
    brightest = float(values.max()) or 1.0  # a black image stays black
    white = {"1": 255.0, "255": 1.0, "brightest": brightest}[signature.white]
    mean, std = (np.asarray(three, dtype=np.float64) for three in (signature.mean, signature.std))
    scaled = values * (1 / (white * std)).astype(np.float32) - (mean / std).astype(np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def saliency_from(
    found: Float32[np.ndarray, "ph pw"], values: MapValues, height_px: int, width_px: int
) -> Float32[np.ndarray, "h w"]:
    """The map at the image's own size, in [0, 1].

    Raises: ModelOutputError: it holds NaN or infinity, or values that are no probabilities.
    """
    if not np.isfinite(found).all():
        raise ModelOutputError("the map holds NaN or infinity")
    lowest, highest = float(found.min()), float(found.max())
    if values == "logits":
        saliency = expit(found)
    elif values == "stretched":
        # A flat map says nothing, so it shows nothing.
        saliency = (found - lowest) / (highest - lowest) if highest > lowest else np.zeros_like(found)
    elif lowest < -_ROUNDING or highest > 1 + _ROUNDING:
        raise ModelOutputError(
            f"the map's values are from {lowest:.4g} to {highest:.4g}, which are no probabilities; if they are logits, "
            "give --network-values logits"
        )
    else:
        saliency = found
    resized = Image.fromarray(saliency).resize((width_px, height_px), Image.Resampling.BILINEAR)
    return np.asarray(resized).clip(0, 1)
