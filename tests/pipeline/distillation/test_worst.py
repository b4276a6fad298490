"""The picture of the worst maps: which colours it has where, and how many maps it shows."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from PIL import Image

from pipeline.distillation.worst import _BOTH_RGB, _DECODER_ALONE_RGB, _VAE_ALONE_RGB, Painted, difference, draw_worst

MASKS = st_np.arrays(bool, (5, 7))


def painted(own, vaes, name="map 3", iou=0.25):
    return Painted(name=name, iou=iou, own=np.asarray(own, np.float32), vaes=np.asarray(vaes, np.float32))


def picture_of(*given):
    return Image.open(io.BytesIO(draw_worst(given)))


@given(MASKS, MASKS)
def test_a_pixel_has_the_colour_of_the_masks_that_have_it(own, vaes):
    shown = difference(own, vaes)
    for rgb, where in (
        (_BOTH_RGB, own & vaes),
        (_VAE_ALONE_RGB, vaes & ~own),
        (_DECODER_ALONE_RGB, own & ~vaes),
        ((0, 0, 0), ~own & ~vaes),
    ):
        assert np.array_equal((shown == rgb).all(-1), where)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 12))
def test_so_many_maps_take_so_much_room_and_at_most_eight_are_shown(count):
    one, many, eight = (picture_of(*[painted(np.eye(192), np.eye(192))] * number) for number in (1, count, 8))
    shown = min(count, 8)
    assert many.width == (one.width if count == 1 else eight.width)
    assert many.height - one.height == (-(-shown // 2) - 1) * (eight.height - one.height) // 3
    assert one.width > 3 * 192


def test_masks_are_those_above_one_half_beside_each_other():
    own, vaes = np.full((192, 192), 0.5), np.full((192, 192), 0.51)
    pixels = np.asarray(picture_of(painted(own, vaes)))
    row = pixels[100]
    colours = [tuple(row[x]) for x in (100, 300, 500)]
    assert colours == [(255, 255, 255), (0, 0, 0), _VAE_ALONE_RGB]


@pytest.mark.parametrize("changed", [{"name": "map 4"}, {"iou": 0.2501}])
def test_name_and_iou_are_written_below(changed):
    empty = np.zeros((24, 40))
    before, after = picture_of(painted(empty, empty)), picture_of(painted(empty, empty, **changed))
    differs = np.argwhere((np.asarray(before) != np.asarray(after)).any(-1))
    assert differs[:, 0].min() > 192


def test_a_map_of_other_proportions_keeps_them():
    wide = np.ones((100, 400))
    white = (np.asarray(picture_of(painted(wide, wide)))[:, :198] == 255).all(-1)
    assert (white.any(1).sum(), white.any(0).sum()) == (48, 192)
