"""Convert between an image's pixels and the networks' tensors: resize to a square, or pad at the image's own size."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from model.config import ResizeFilter, check_side
from model.copies import pinned

_CPU = torch.device("cpu")

OWN_SIZE_MULTIPLE = 64
"""An image processed at its own size is padded to a multiple of this: latents have an eighth of the size, which Stable
Diffusion's UNet halves three times."""


def processed_size(height_width: tuple[int, int], side_px: int) -> tuple[int, int]:
    """Height and width in pixels that the networks see: a square, or with `side_px` 0 the image's own size, padded.

    What they give has this size rounded down to a multiple of 8, that of the latents.
    Raises: ValueError: `side_px` is neither 0 nor at least 8.
    """
    check_side("processing resolution", side_px)
    if side_px:
        return side_px, side_px
    height, width = height_width
    return height + -height % OWN_SIZE_MULTIPLE, width + -width % OWN_SIZE_MULTIPLE


def preprocess(
    images: Sequence[UInt8[np.ndarray, "_h _w 3"]], side_px: int, device: torch.device = _CPU
) -> Float[Tensor, "n 3 ph pw"]:
    """Stack images, which must share one `processed_size`, into a tensor with values in [0, 1].

    Images become squares by bicubic resizing that ignores the aspect ratio, as in the reference. With `side_px` 0
    nothing is resized: the last row and column are repeated at the lower and right edge.
    Args: device: that they will go to; they are in the processor's memory, for a GPU in its pinned memory.
    """
    prepared = [_padded(image) if side_px == 0 else squared(image, side_px) for image in images]
    pixels = torch.from_numpy(np.stack(prepared)).permute(0, 3, 1, 2).float()
    return torch.div(pixels, 255, out=pinned(pixels.shape, device, pixels.stride()))


def without_padding(
    maps: Float[Tensor, "e ph pw"], height_width: tuple[int, int], side_px: int
) -> Float[Tensor, "e _h _w"]:
    """Cut off the padding that `preprocess` added; squares have none."""
    return maps if side_px else maps[:, : height_width[0], : height_width[1]]


def resize_map(
    values: Float[Tensor, "h w"], height_width: tuple[int, int], resize_filter: ResizeFilter = "bilinear"
) -> Float[Tensor, "h2 w2"]:
    """Resize a map, antialiased when shrinking. Bilinear keeps the values' range; bicubic (Pillow's) can exceed it."""
    if tuple(values.shape) == height_width:
        return values
    height, width = height_width
    if width == 1 < height:  # torch 2.14 resizes to one column by repeating the first row; to one row it is correct
        return resize_map(values.T, (width, height), resize_filter).T
    return functional.interpolate(values[None, None], height_width, mode=resize_filter, antialias=True)[0, 0]


def squared(image: UInt8[np.ndarray, "_h _w 3"], side_px: int) -> UInt8[np.ndarray, "p p 3"]:
    """Resize bicubically to a square of that side; an image of that size comes back unchanged."""
    return np.asarray(Image.fromarray(image).resize(processed_size((0, 0), side_px), Image.Resampling.BICUBIC))


def _padded(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "ph pw 3"]:
    height, width = image.shape[:2]
    padded_height, padded_width = processed_size((height, width), 0)
    return np.pad(image, ((0, padded_height - height), (0, padded_width - width), (0, 0)), mode="edge")
