"""One PNG of the maps on whose masks VAE and mask decoder agree least: both masks, and where they differ."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from pipeline.files.outlines import small

WORST = 8
"""So many maps are shown."""
_COLUMNS = 2
_THUMBNAIL_PX, _GAP_PX, _CELL_GAP_PX, _LINE_PX, _FONT_PX = 192, 6, 24, 18, 12
_HEADS = ("the VAE's mask", "the mask decoder's", "red: VAE alone, blue: decoder")
_PAPER, _INK = (250, 250, 248), (40, 40, 40)
_BOTH_RGB, _VAE_ALONE_RGB, _DECODER_ALONE_RGB = (90, 90, 90), (240, 70, 50), (70, 150, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """A map as both decoders paint it."""

    name: str
    """Shown below it."""
    iou: float
    """Of the two masks."""
    own: Float32[np.ndarray, "h w"]
    """The mask decoder's, saliency in [0, 1]."""
    vaes: Float32[np.ndarray, "h w"]
    """The VAE's."""


def draw_worst(painted: Sequence[Painted]) -> bytes:
    """A PNG of the first `WORST` maps, in their order. Args: painted: at least one, the worst first."""
    cells = [_cell(one) for one in painted[:WORST]]
    columns = min(_COLUMNS, len(cells))
    width, height = cells[0].width + _CELL_GAP_PX, cells[0].height + _GAP_PX
    rows = -(-len(cells) // columns)
    sheet_px = (columns * width - _CELL_GAP_PX + 2 * _GAP_PX, _LINE_PX + rows * height + _GAP_PX)
    sheet = Image.new("RGB", sheet_px, _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for column in range(columns):
        for place, head in enumerate(_HEADS):
            middle = _GAP_PX + column * width + place * (_THUMBNAIL_PX + _GAP_PX) + _THUMBNAIL_PX // 2
            draw.text((middle, _LINE_PX // 2 + 1), head, fill=_INK, font=font, anchor="mm")
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(cell, (_GAP_PX + column * width, _LINE_PX + _GAP_PX + row * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def difference(own: Bool[np.ndarray, "h w"], vaes: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Where two masks agree, and where one of them is alone."""
    picture = np.zeros((*own.shape, 3), np.uint8)
    picture[own & vaes] = _BOTH_RGB
    picture[vaes & ~own] = _VAE_ALONE_RGB
    picture[own & ~vaes] = _DECODER_ALONE_RGB
    return picture


def _cell(painted: Painted) -> Image.Image:
    """The three pictures side by side above a caption."""
    own, vaes = painted.own > 0.5, painted.vaes > 0.5
    pictures = (vaes.astype(np.uint8) * np.uint8(255), own.astype(np.uint8) * np.uint8(255), difference(own, vaes))
    cell = Image.new("RGB", (3 * (_THUMBNAIL_PX + _GAP_PX) - _GAP_PX, _THUMBNAIL_PX + _LINE_PX), _PAPER)
    draw = ImageDraw.Draw(cell)
    for place, picture in enumerate(pictures):
        shown = small(Image.fromarray(picture), _THUMBNAIL_PX)
        left = place * (_THUMBNAIL_PX + _GAP_PX) + (_THUMBNAIL_PX - shown.width) // 2
        cell.paste(shown, (left, (_THUMBNAIL_PX - shown.height) // 2))
    caption = f"IoU {painted.iou:.4f}: {painted.name}"
    draw.text((2, _THUMBNAIL_PX + 1), caption, fill=_INK, font=ImageFont.load_default(_FONT_PX))
    return cell
