"""Thumbnails of a release: one tile per predicted image, and sheets of tiles as WebP.

`TILES_PER_SHEET` tiles share a file, so many images need few files. `tiles.js` cuts the tiles out again: it gets the
layout from `files.py` and crops each panel to its picture by the rule of `fitted_px`.
"""

import contextlib
import functools
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, binary_erosion

from pipeline.collection.colours import changes_colours, profile_of
from pipeline.collection.frames import upright
from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.files.maps import mask_of, variance_picture
from pipeline.files.orientation import orientation
from pipeline.files.pictures import decoded
from pipeline.records import Frame

TILE_PX = 128
"""Side of a panel."""
PANELS = ("photo", "mask", "saliency", "variance")
"""From left to right: the photo, the photo with the mask's outline, the two maps."""
TILES_PER_SHEET = 24
SHEET_COLUMNS = 2
"""Tiles per row; a full sheet is 1024 x 1536 pixels."""
PAPER_GREY = 128
"""Fills the panel around a picture, and replaces a photo that may not be shown: both the light and the dark line of the
outline stand out from it."""

_OUTLINE_RGB = (255, 240, 90)
_RIM_RGB = (20, 20, 24)
_MARK_RGB = (176, 176, 176)
_NO_PHOTO = "no photo"
_WEBP = {"quality": 70, "method": 2}
"""For 24 tiles of photographs: 103 kB in 49 ms. Pillow's default, method 4, takes twice as long and saves 5 %."""
_VARIANCE_GREY = variance_picture(np.arange(256, dtype=np.uint8)[None])[0]
"""Stored variance → grey: 256 values computed once, instead of every pixel in floating point."""
_AROUND = np.ones((3, 3), dtype=bool)


def draw_tile(
    photo: UInt8[np.ndarray, "photo_h photo_w 3"] | None,
    saliency: UInt8[np.ndarray, "h w"],
    variance: UInt8[np.ndarray, "h w"],
    *,
    has_mask: bool = True,
) -> UInt8[np.ndarray, "tile_h tile_w 3"]:
    """Draw photo, mask outline, saliency and variance of one image side by side.

    Args:    photo: at the size of the maps or of `decode_small`. None: it may not be shown; a sign replaces it.
             saliency, variance: as stored, see `pipeline/files/maps.py`.
             has_mask: False for a scene that is kept as an empty one; no outline is drawn then.
    Returns: [TILE_PX, 4 * TILE_PX, 3]; every picture is centred in its panel, its longer side fills it.
    """
    size_px = fitted_px(saliency.shape[1], saliency.shape[0])
    if photo is None:
        shown, background = _sign(size_px), np.full((size_px[1], size_px[0], 3), PAPER_GREY, dtype=np.uint8)
    else:
        shown = background = resized(photo, size_px)
    coverage = resized((mask_of(saliency) & has_mask).astype(np.uint8) * 255, size_px)
    pictures = (
        shown,
        _outlined(background, _small_mask(coverage)),
        resized(saliency, size_px)[:, :, None],
        resized(np.take(_VARIANCE_GREY, variance), size_px)[:, :, None],
    )
    tile = np.full((TILE_PX, len(PANELS) * TILE_PX, 3), PAPER_GREY, dtype=np.uint8)
    width_px, height_px = size_px
    top, left = (TILE_PX - height_px) // 2, (TILE_PX - width_px) // 2
    for place, picture in enumerate(pictures):
        start = place * TILE_PX + left
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
    if not 0 < len(tiles) <= TILES_PER_SHEET:
        raise ValueError(f"{len(tiles)} tiles; a sheet has 1 to {TILES_PER_SHEET}")
    tile_h, tile_w = TILE_PX, len(PANELS) * TILE_PX
    rows = -(-len(tiles) // SHEET_COLUMNS)
    sheet = np.full((rows * tile_h, SHEET_COLUMNS * tile_w, 3), PAPER_GREY, dtype=np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, SHEET_COLUMNS)
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


def _small_mask(coverage: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels that are mostly mask; for a mask too thin for that, those with the largest share of it."""
    mask: Bool[np.ndarray, "h w"] = coverage >= min(max(int(coverage.max()), 1), 128)
    return mask


def _outlined(picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a light line just inside the mask with dark lines on both sides: one of them shows on any photo."""
    inner = binary_erosion(mask, _AROUND)  # outside the picture counts as no mask, so a cut-off object is outlined too
    core = binary_erosion(inner, _AROUND)
    drawn = picture.copy()
    drawn[binary_dilation(mask, _AROUND) & ~mask] = _RIM_RGB
    drawn[inner & ~core] = (picture[inner & ~core] * 0.45).astype(np.uint8)
    drawn[mask & ~inner] = _OUTLINE_RGB
    return drawn


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
