"""Properties, examples and faults of tiles and sheets."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pipeline.collection.frames import upright
from pipeline.collection.images import decode_rgb
from pipeline.errors import SampleError
from pipeline.files.maps import variance_picture
from pipeline.release.page.tiles import (
    PANELS,
    PAPER_GREY,
    SHEET_COLUMNS,
    TILE_PX,
    TILES_PER_SHEET,
    decode_small,
    draw_tile,
    encode_sheet,
    fitted_px,
    sheet_name,
)
from tests.pipeline.files.make_images import ADOBE_RGB, exif_with, icc_profile
from tests.pipeline.make import make_jpeg

SIDES = st.integers(1, 400)
BYTES = st.integers(0, 255)
TILE_SHAPE = (TILE_PX, len(PANELS) * TILE_PX, 3)


@st.composite
def images(draw):
    """A photo or None, a saliency map and a variance map, all of one size."""
    shape = draw(st.tuples(SIDES, SIDES))
    photo = draw(st.none() | arrays.arrays(np.uint8, (*shape, 3), elements=BYTES, fill=BYTES))
    maps = [draw(arrays.arrays(np.uint8, shape, elements=BYTES, fill=BYTES)) for _ in range(2)]
    return photo, *maps


def make_maps(height=96, width=128, rows=slice(30, 60), columns=slice(40, 80)):
    """Maps of a rectangle that all members agree on."""
    saliency = np.zeros((height, width), dtype=np.uint8)
    saliency[rows, columns] = 255
    return saliency, np.zeros_like(saliency)


def make_photo(height=96, width=128, colour=(90, 120, 150)):
    return np.full((height, width, 3), colour, dtype=np.uint8)


def panel(tile, name):
    start = PANELS.index(name) * TILE_PX
    return tile[:, start : start + TILE_PX]


def picture(tile, name, width, height):
    """The picture in a panel, without the grey around it."""
    width_px, height_px = fitted_px(width, height)
    top, left = (TILE_PX - height_px) // 2, (TILE_PX - width_px) // 2
    return panel(tile, name)[top : top + height_px, left : left + width_px]


def make_tile(number):
    """A tile whose panel colours are unique within a sheet."""
    tile = np.empty(TILE_SHAPE, dtype=np.uint8)
    for place in range(len(PANELS)):
        tile[:, place * TILE_PX : (place + 1) * TILE_PX] = (number * 10, 60 * place, 128)
    return tile


def decoded(content):
    with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
        return np.asarray(image.convert("RGB"))


# Properties


@given(images())
def test_pictures_of_any_size_are_centred_in_panels_of_one_size(image):
    tile = draw_tile(*image)
    assert tile.shape == TILE_SHAPE
    height, width = image[1].shape
    width_px, height_px = fitted_px(width, height)
    around = np.ones((TILE_PX, TILE_PX), dtype=bool)
    top, left = (TILE_PX - height_px) // 2, (TILE_PX - width_px) // 2
    around[top : top + height_px, left : left + width_px] = False
    for name in PANELS:
        assert (panel(tile, name)[around] == PAPER_GREY).all()


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_longer_side_of_a_picture_fills_its_panel_and_the_shape_is_kept(width, height):
    fitted = fitted_px(width, height)
    assert max(fitted) == TILE_PX
    assert min(fitted) >= 1
    assert abs(fitted[0] * max(width, height) - width * TILE_PX) <= max(width, height)
    assert abs(fitted[1] * max(width, height) - height * TILE_PX) <= max(width, height)


@settings(max_examples=20)
@given(images())
def test_an_image_is_drawn_the_same_way_every_time(image):
    assert np.array_equal(draw_tile(*image), draw_tile(*image))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, TILES_PER_SHEET))
def test_every_tile_of_a_sheet_is_at_its_place_and_the_bytes_are_the_same_every_time(count):
    tiles = [make_tile(number) for number in range(count)]
    content = encode_sheet(tiles)
    assert content == encode_sheet([tile.copy() for tile in tiles])
    sheet = decoded(content)
    for number in range(count):
        row, column = divmod(number, SHEET_COLUMNS)
        found = sheet[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_SHAPE[1] : (column + 1) * TILE_SHAPE[1]]
        middles = found[TILE_PX // 2, TILE_PX // 2 :: TILE_PX].astype(int)
        assert np.abs(middles - make_tile(number)[TILE_PX // 2, TILE_PX // 2 :: TILE_PX]).max() < 8


@given(st.integers(0, 10**7))
def test_the_name_of_a_sheet_has_its_number(index):
    folder, _, name = sheet_name(index).rpartition("/")
    assert (folder, int(name.removesuffix(".webp"))) == (f"page/tiles/{index // 1000:03d}", index)


# Examples


def test_panels_are_the_photo_its_mask_and_both_maps():
    saliency, variance = make_maps(192, 256)
    variance[10, 20], saliency[0, :2] = 200, (127, 128)
    tile = draw_tile(make_photo(192, 256), saliency, variance)
    assert np.array_equal(picture(tile, "photo", 256, 192), make_photo(192, 256))
    assert np.array_equal(picture(tile, "mask", 256, 192)[..., 2], np.where(saliency >= 128, 255, 0))
    assert np.array_equal(picture(tile, "saliency", 256, 192)[..., 0], saliency)
    assert np.array_equal(picture(tile, "variance", 256, 192)[..., 1], variance_picture(variance))


def test_large_images_are_averaged():
    checks = (np.indices((768, 1024)).sum(axis=0) % 2 * 255).astype(np.uint8)
    tile = draw_tile(np.repeat(checks[..., None], 3, axis=2), checks, np.zeros_like(checks))
    assert np.abs(picture(tile, "photo", 1024, 768).astype(int) - 127).max() <= 1
    assert np.abs(picture(tile, "saliency", 1024, 768).astype(int) - 127).max() <= 1


def test_without_a_salient_object_or_with_an_empty_scene_the_mask_is_black():
    nothing, variance = np.full((96, 128), 127, np.uint8), np.zeros((96, 128), np.uint8)
    assert not picture(draw_tile(make_photo(), nothing, variance), "mask", 128, 96).any()
    assert not picture(draw_tile(make_photo(), *make_maps(), has_mask=False), "mask", 128, 96).any()


@pytest.mark.parametrize("thin", [{"rows": slice(500, 502)}, {"columns": slice(333, 334)}])
def test_an_object_thinner_than_half_a_pixel_of_the_tile_is_white_all_the_same(thin):
    saliency, variance = make_maps(1536, 2048, **{"rows": slice(100, 1400), "columns": slice(100, 1900), **thin})
    tile = draw_tile(make_photo(1536, 2048), saliency, variance)
    assert picture(tile, "mask", 2048, 1536).max() == 255


def test_a_photo_that_may_not_be_shown_is_replaced_by_a_sign():
    saliency, variance = make_maps()
    hidden, shown = draw_tile(None, saliency, variance), draw_tile(make_photo(), saliency, variance)
    for name in ("mask", "saliency", "variance"):
        assert np.array_equal(panel(hidden, name), panel(shown, name))
    sign = picture(hidden, "photo", 128, 96)
    assert sign[80:112, 60:196].max() > 220  # letters
    assert sign[10, 128].tolist() == [PAPER_GREY] * 3


def test_a_photo_decoded_at_a_smaller_size_gives_nearly_the_same_tile():
    content = make_jpeg(3, 1280, 960)
    saliency, variance = make_maps(960, 1280, slice(200, 600), slice(400, 800))
    small = decode_small("7", content, 1280 * 960)
    assert small.shape == (480, 640, 3)
    full = draw_tile(decode_rgb("7", content), saliency, variance)
    difference = np.abs(draw_tile(small, saliency, variance).astype(int) - full)
    assert np.median(difference) <= 2


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "GIF")])
def test_images_of_other_formats_are_decoded_by_decode_rgb(mode, kind):
    file = io.BytesIO()
    with Image.open(io.BytesIO(make_jpeg(1, 300, 200))) as image:
        image.convert(mode).save(file, kind)
    assert np.array_equal(decode_small("7", file.getvalue(), 300 * 200), decode_rgb("7", file.getvalue()))


def test_a_photo_with_a_profile_has_its_colours_in_the_tile_too():
    file = io.BytesIO()
    with Image.open(io.BytesIO(make_jpeg(1, 640, 480))) as image:
        image.save(file, "JPEG", icc_profile=icc_profile(2.2, ADOBE_RGB))
    assert np.array_equal(decode_small("7", file.getvalue(), 640 * 480), decode_rgb("7", file.getvalue()))


def test_a_turned_photo_is_in_the_tile_as_its_maps_are():
    with Image.open(io.BytesIO(make_jpeg(1, 1280, 960))) as image:
        file = io.BytesIO()
        image.save(file, "JPEG", exif=exif_with(6))
    small = [decode_small("7", file.getvalue(), 1280 * 960, frame) for frame in ("stored", "upright")]
    assert [pixels.shape[:2] for pixels in small] == [(480, 640), (640, 480)]
    assert np.array_equal(small[1], upright(small[0], 6))


# Faults


@pytest.mark.parametrize("content", [b"", b"no image", make_jpeg(1, 640, 480)[:2000]])
def test_an_image_that_can_not_be_decoded_is_named_by_its_label(content):
    with pytest.raises(SampleError, match="the label"):
        decode_small("the label", content, 640 * 480)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_limit_above_the_default_holds_for_tiles_too(kind, monkeypatch):
    """As if 300 x 200 px were more than the default."""
    monkeypatch.setattr("pipeline.collection.images.MAX_IMAGE_PIXELS", 300 * 200 - 1)
    file = io.BytesIO()
    with Image.open(io.BytesIO(make_jpeg(1, 300, 200))) as image:
        image.save(file, kind)
    assert decode_small("7", file.getvalue(), 300 * 200).shape[2] == 3
    with pytest.raises(SampleError, match="too_many_pixels"):
        decode_small("7", file.getvalue(), 300 * 200 - 1)


@pytest.mark.parametrize("count", [0, TILES_PER_SHEET + 1])
def test_a_sheet_without_tiles_or_with_too_many_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} tiles"):
        encode_sheet([make_tile(0)] * count)
