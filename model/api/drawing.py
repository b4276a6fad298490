"""Pictures of a result to look at."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import minimum_filter

OUTLINE_RGB = (255, 60, 120)
_LINES_PER_SIDE = 250
"""The longer side divided by this is the width of an outline, at least one pixel."""
_PANEL_PX = 480
"""Longest side of a panel; larger photos are made smaller."""
_HEAD_PX = 24
_GAP_PX = 6
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def outline_of(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a mask at its edge, in a line that is wide enough to be seen at the image's size."""
    width_px = max(1, max(mask.shape) // _LINES_PER_SIDE)
    # Not Pillow's MinFilter: it reads the whole square around each pixel, which takes 10 s for 4000 x 3000, not 0.04 s.
    inner: Bool[np.ndarray, "h w"] = minimum_filter(mask, 2 * width_px + 1, mode="nearest")
    edge: Bool[np.ndarray, "h w"] = mask & ~inner
    return edge


def with_outline(photo: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The photo with the mask's outline."""
    drawn = photo.copy()
    drawn[outline_of(mask)] = OUTLINE_RGB
    return drawn


def side_by_side(panels: Mapping[str, Image.Image]) -> Image.Image:
    """Pictures of one size in a row, each below its name."""
    small = {name: _small(panel) for name, panel in panels.items()}
    width, height = next(iter(small.values())).size
    row = Image.new("RGB", (len(small) * (width + _GAP_PX) - _GAP_PX, height + _HEAD_PX), _PAPER)
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(14)
    for place, (name, panel) in enumerate(small.items()):
        left = place * (width + _GAP_PX)
        pen.text((left, 4), name, fill=_INK, font=font)
        row.paste(panel, (left, _HEAD_PX))
    return row


def _small(panel: Image.Image) -> Image.Image:
    small = panel.convert("RGB")
    small.thumbnail((_PANEL_PX, _PANEL_PX))
    return small
