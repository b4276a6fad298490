"""Thumbnails of a release: a tile per predicted image, and sheets of tiles as WebP.

Many images make few files: `TILES_PER_SHEET` tiles share a sheet. What shows them is `page/gallery.js`; it gets the
layout from here, through `page_data.py`, and cuts a panel to its picture by the rule of `fitted_px`.
"""

import functools
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion

from pipeline.collection.images import decode_rgb
from pipeline.files.maps import mask_of, variance_picture

TILE_PX = 128
"""Side of a panel."""
PANELS = ("photo", "mask", "saliency", "variance")
"""From left to right: the photo, the photo with the mask's outline, and the two maps."""
TILES_PER_SHEET = 24
SHEET_COLUMNS = 2
"""Tiles stand in rows of so many; a full sheet is 1024 x 1536 pixels."""
PAPER_GREY = 128
"""What is around and, without a photo, behind the pictures: both ends of the outline's brightness stand out from it."""

_OUTLINE_RGB = (255, 240, 90)
_RIM_RGB = (20, 20, 24)
_MARK_RGB = (176, 176, 176)
_NO_PHOTO = "no photo"
_WEBP = {"quality": 70, "method": 2}
"""On 24 tiles of photographs: 103 kB in 49 ms. Pillow's default, method 4, takes twice as long for 5 % less."""
_VARIANCE_GREY = variance_picture(np.arange(256, dtype=np.uint8)[None])[0]
"""Stored variance → grey: 256 values once instead of every pixel in floating point."""
_AROUND = np.ones((3, 3), dtype=bool)


def draw_tile(
    photo: UInt8[np.ndarray, "photo_h photo_w 3"] | None,
    saliency: UInt8[np.ndarray, "h w"],
    variance: UInt8[np.ndarray, "h w"],
) -> UInt8[np.ndarray, "tile_h tile_w 3"]:
    """Photo, outline of the mask, saliency and variance of one image, side by side.

    Args:    photo: of the maps' size, or that of `decode_small`. None: it may not be shown, and a sign stands for it.
             saliency, variance: as stored, see `pipeline/files/maps.py`.
    Returns: [TILE_PX, 4 * TILE_PX, 3]; every picture is in the middle of its panel, its longer side fills it.
    """
    size_px = fitted_px(saliency.shape[1], saliency.shape[0])
    if photo is None:
        shown, background = _sign(size_px), np.full((size_px[1], size_px[0], 3), PAPER_GREY, dtype=np.uint8)
    else:
        shown = background = _resized(photo, size_px)
    coverage = _resized(mask_of(saliency).astype(np.uint8) * 255, size_px)
    pictures = (
        shown,
        _outlined(background, _small_mask(coverage)),
        _resized(saliency, size_px)[:, :, None],
        _resized(np.take(_VARIANCE_GREY, variance), size_px)[:, :, None],
    )
    tile = np.full((TILE_PX, len(PANELS) * TILE_PX, 3), PAPER_GREY, dtype=np.uint8)
    width_px, height_px = size_px
    top, left = (TILE_PX - height_px) // 2, (TILE_PX - width_px) // 2
    for place, picture in enumerate(pictures):
        start = place * TILE_PX + left
        tile[top : top + height_px, start : start + width_px] = picture
    return tile


def decode_small(label: str, image_bytes: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """An image as large as a tile needs it, or larger: a JPEG at a half, a quarter or an eighth of its size.

    Raises: SampleError: it can't be decoded.
    """
    try:
        with Image.open(io.BytesIO(image_bytes), formats=("JPEG",)) as image:
            if image.mode == "RGB":
                # Twice the picture's size at least, so that resizing still averages.
                width_px, height_px = fitted_px(*image.size)
                image.draft("RGB", (2 * width_px, 2 * height_px))
                return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        pass  # no JPEG, or a torn one: the full way has the words for it
    return decode_rgb(label, image_bytes)


def fitted_px(width: int, height: int) -> tuple[int, int]:
    """Width and height of a picture in its panel; integers only, so that JavaScript finds the same."""
    longer = max(width, height)
    return tuple(max(1, (2 * side * TILE_PX + longer) // (2 * longer)) for side in (width, height))  # type: ignore[return-value]


def encode_sheet(tiles: Sequence[UInt8[np.ndarray, "tile_h tile_w 3"]]) -> bytes:
    """Up to `TILES_PER_SHEET` tiles as one WebP; equal tiles give equal bytes for one version of Pillow and libwebp.

    Raises: ValueError: there is none, or there are more.
    """
    if not 0 < len(tiles) <= TILES_PER_SHEET:
        raise ValueError(f"{len(tiles)} tiles; a sheet has 1 to {TILES_PER_SHEET}")
    tile_h, tile_w = TILE_PX, len(PANELS) * TILE_PX
    rows = -(-len(tiles) // SHEET_COLUMNS)
    sheet = np.full((rows * tile_h, SHEET_COLUMNS * tile_w, 3), PAPER_GREY, dtype=np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, SHEET_COLUMNS)
        sheet[row * tile_h : (row + 1) * tile_h, column * tile_w : (column + 1) * tile_w] = tile
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="WEBP", **_WEBP)
    return buffer.getvalue()


def sheet_name(index: int) -> str:
    """Name of a sheet, relative to the release; sheets count from 0. A folder has a thousand: the Hub takes 10,000."""
    return f"page/tiles/{index // 1000:03d}/{index:05d}.webp"


def _resized(pixels: UInt8[np.ndarray, "..."], size_px: tuple[int, int]) -> UInt8[np.ndarray, "..."]:
    """Average over the pixels that fall into one, in two steps where there are many; enlarged smoothly."""
    image = Image.fromarray(pixels)
    how = Image.Resampling.BOX if image.width >= size_px[0] else Image.Resampling.BICUBIC
    return np.asarray(image.resize(size_px, how, reducing_gap=2.0))


def _small_mask(coverage: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels that are mostly mask; where a mask is too thin for that, those that have most of it."""
    mask: Bool[np.ndarray, "h w"] = coverage >= min(max(int(coverage.max()), 1), 128)
    return mask


def _outlined(picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A light line just inside of the mask with a dark one on both its sides: one of them shows on any photo."""
    inner = binary_erosion(mask, _AROUND)  # beyond the picture is no mask: an object that is cut off has an outline
    core = binary_erosion(inner, _AROUND)
    drawn = picture.copy()
    drawn[binary_dilation(mask, _AROUND) & ~mask] = _RIM_RGB
    drawn[inner & ~core] = (picture[inner & ~core] * 0.45).astype(np.uint8)
    drawn[mask & ~inner] = _OUTLINE_RGB
    return drawn


@functools.lru_cache(maxsize=256)
def _sign(size_px: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Stands for a photo that may not be shown: a crossed frame that says so."""
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
