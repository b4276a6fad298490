"""Thumbnails of a release: one tile per predicted image, and sheets of tiles as WebP.

`TILES_PER_SHEET` tiles share a file, so many images need few files. `tiles.js` cuts the tiles out again: it gets the
layout from `files.py` and crops each panel to its picture by the rule of `fitted_px`.
"""

import contextlib
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from pipeline.collection.colours import changes_colours, profile_of
from pipeline.collection.frames import upright
from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.files.maps import mask_of, variance_picture
from pipeline.files.orientation import orientation
from pipeline.files.pictures import decoded
from pipeline.records import Frame

TILE_PX = 256
"""Side of a panel."""
PANELS = ("photo", "mask", "saliency", "variance")
"""From left to right: the photo, the mask in white on black, the two maps. The page draws outlines and cut-outs."""
TILES_PER_SHEET = 12
SHEET_COLUMNS = 2
"""Tiles per row; a full sheet is 2048 x 1536 pixels."""
PAPER_GREY = 128
"""Fills the panel around a photo, and replaces one that may not be shown: both the light and the dark line of the
outline stand out from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetLayout:
    """How tiles lie on a sheet."""

    panel_px: int
    panels: int
    columns: int
    """Tiles per row."""
    per_sheet: int

    def size_px(self, tiles: int) -> tuple[int, int]:
        """Width and height of a sheet of that many tiles."""
        return self.columns * self.panels * self.panel_px, -(-tiles // self.columns) * self.panel_px


LAYOUT = SheetLayout(panel_px=TILE_PX, panels=len(PANELS), columns=SHEET_COLUMNS, per_sheet=TILES_PER_SHEET)
LAYOUT_BEFORE_6 = SheetLayout(panel_px=128, panels=4, columns=2, per_sheet=24)
"""Of releases before format 6."""


def layout_of(release_format: int) -> SheetLayout:
    """How tiles lie on the sheets of a release of this format."""
    return LAYOUT if release_format >= 6 else LAYOUT_BEFORE_6


_MARK_RGB = (176, 176, 176)
_NO_PHOTO = "no photo"
_WEBP = {"quality": 70, "method": 2}
"""For 24 tiles of photographs: 103 kB in 49 ms. Pillow's default, method 4, takes twice as long and saves 5 %."""
_VARIANCE_GREY = variance_picture(np.arange(256, dtype=np.uint8)[None])[0]
"""Stored variance → grey: 256 values computed once, instead of every pixel in floating point."""


def draw_tile(
    photo: UInt8[np.ndarray, "photo_h photo_w 3"] | None,
    saliency: UInt8[np.ndarray, "h w"],
    variance: UInt8[np.ndarray, "h w"],
    *,
    has_mask: bool = True,
) -> UInt8[np.ndarray, "tile_h tile_w 3"]:
    """Draw photo, mask, saliency and variance of one image side by side.

    Args:    photo: at the size of the maps or of `decode_small`. None: it may not be shown; a sign replaces it.
             saliency, variance: as stored, see `pipeline/files/maps.py`.
             has_mask: False for a scene that is kept as an empty one; its mask is black.
    Returns: [TILE_PX, 4 * TILE_PX, 3]; every picture is centred in its panel, its longer side fills it.
    """
    side_px = LAYOUT.panel_px
    size_px = fitted_px(saliency.shape[1], saliency.shape[0], side_px)
    coverage = resized((mask_of(saliency) & has_mask).astype(np.uint8) * 255, size_px)
    pictures = (
        _sign(size_px) if photo is None else resized(photo, size_px),
        _visible(coverage)[:, :, None],
        resized(saliency, size_px)[:, :, None],
        resized(np.take(_VARIANCE_GREY, variance), size_px)[:, :, None],
    )
    tile = np.full((side_px, LAYOUT.panels * side_px, 3), PAPER_GREY, dtype=np.uint8)
    width_px, height_px = size_px
    top, left = (side_px - height_px) // 2, (side_px - width_px) // 2
    for place, picture in enumerate(pictures):
        start = place * side_px + left
        tile[top : top + height_px, start : start + width_px] = picture
    return tile


def decode_small(
    label: str, image_bytes: bytes, max_pixels: int, frame: Frame = "stored", side_px: int = TILE_PX
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image at least as large as a picture needs; JPEGs at a half, a quarter or an eighth of their size.

    Args:   max_pixels: limit on height x width; that of an image which was predicted is its own size.
            frame: that of the image's maps.
            side_px: the longer side of the picture that is to be made of it.
    Raises: SampleError: the image can't be decoded.
    """

    def shrunk(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
        if image.mode != "RGB" or changes_colours(profile_of(image, image_bytes), image.mode):
            raise ValueError(f"a JPEG of mode {image.mode}, or with colours of its own")
        # At least twice the picture's size, so that resizing still averages.
        width_px, height_px = fitted_px(*image.size, side_px)
        image.draft("RGB", (2 * width_px, 2 * height_px))
        return upright(np.asarray(image), orientation(image_bytes) if frame == "upright" else 1)

    with contextlib.suppress(SampleError):
        return decoded(label, image_bytes, shrunk, max_pixels=max_pixels, formats=("JPEG",))
    # Not a JPEG in sRGB, or a torn one: decode_rgb reads it or says what is wrong.
    return decode_rgb(label, image_bytes, max_pixels=max_pixels, default=frame)


def fitted_px(width: int, height: int, side_px: int = TILE_PX) -> tuple[int, int]:
    """Width and height of a picture in its panel; integer arithmetic, so that JavaScript gets the same result.

    Args: side_px: side of the panel, and the longer one of the picture.
    """
    longer = max(width, height)
    return tuple(max(1, (2 * side * side_px + longer) // (2 * longer)) for side in (width, height))  # type: ignore[return-value]


def encode_sheet(tiles: Sequence[UInt8[np.ndarray, "tile_h tile_w 3"]]) -> bytes:
    """Encode up to `TILES_PER_SHEET` tiles as one WebP; equal bytes for equal tiles, Pillow and libwebp.

    Raises: ValueError: there are no tiles, or too many.
    """
    if not 0 < len(tiles) <= LAYOUT.per_sheet:
        raise ValueError(f"{len(tiles)} tiles; a sheet has 1 to {LAYOUT.per_sheet}")
    tile_h, tile_w = LAYOUT.panel_px, LAYOUT.panels * LAYOUT.panel_px
    width_px, height_px = LAYOUT.size_px(len(tiles))
    sheet = np.full((height_px, width_px, 3), PAPER_GREY, dtype=np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, LAYOUT.columns)
        sheet[row * tile_h : (row + 1) * tile_h, column * tile_w : (column + 1) * tile_w] = tile
    return encode_webp(sheet)


def encode_webp(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Encode a picture for a page; equal bytes for equal pictures, Pillow and libwebp."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", **_WEBP)
    return buffer.getvalue()


def sheet_name(index: int) -> str:
    """Name of a sheet, relative to the release; numbered from 0. A folder holds 1,000: the Hub allows 10,000."""
    return f"page/tiles/{index // 1000:03d}/{index:05d}.webp"


def resized(pixels: UInt8[np.ndarray, "..."], size_px: tuple[int, int]) -> UInt8[np.ndarray, "..."]:
    """Resize a picture to this width and height.

    It is shrunk by averaging (in two steps where there are many pixels) or enlarged smoothly.
    """
    image = Image.fromarray(pixels)
    how = Image.Resampling.BOX if image.width >= size_px[0] else Image.Resampling.BICUBIC
    return np.asarray(image.resize(size_px, how, reducing_gap=2.0))


def _visible(coverage: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """The share of each pixel that is mask; stretched to white if the mask fills no pixel by half, so that it shows."""
    highest = int(coverage.max())
    if not 0 < highest < 128:
        return coverage
    return (coverage.astype(np.uint16) * 255 // highest).astype(np.uint8)


@functools.lru_cache(maxsize=256)
def _sign(size_px: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a crossed frame in place of a photo that may not be shown; it says so."""
    width, height = size_px
    image = Image.new("RGB", size_px, (PAPER_GREY,) * 3)
    draw = ImageDraw.Draw(image)
    draw.line((0, 0, width - 1, height - 1), fill=_MARK_RGB)
    draw.line((0, height - 1, width - 1, 0), fill=_MARK_RGB)
    draw.rectangle((0, 0, width - 1, height - 1), outline=_MARK_RGB)
    left, top, right, bottom = draw.textbbox((width / 2, height / 2), _NO_PHOTO, anchor="mm")
    if left >= 4 and top >= 4:
        draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=(PAPER_GREY,) * 3)
        draw.text((width / 2, height / 2), _NO_PHOTO, fill=(255, 255, 255), anchor="mm")
    return np.asarray(image)
