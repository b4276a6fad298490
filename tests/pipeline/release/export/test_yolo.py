"""Polygons for YOLO: drawn by OpenCV's rule, which Ultralytics uses, they give the mask back."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_fill_holes, label

from pipeline.release.export.yolo import label_of

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def drawn(line, height, width):
    """What Ultralytics draws of a label."""
    number, *corners = line.split()
    assert number == "0"
    corners = np.round(np.array(corners, dtype=float).reshape(-1, 2) * (width, height)).astype(int)
    canvas = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(canvas, [corners], 1)
    return canvas > 0


@given(MASKS)
def test_a_mask_is_drawn_again_but_for_the_lines_between_its_parts(mask):
    line = label_of(mask.astype(np.uint8) * 255)
    if not mask.any():
        assert line == ""
        return
    again = drawn(line, *mask.shape)
    assert again[mask].all()
    _, count = label(mask, np.ones((3, 3)))
    if count == 1 and (binary_fill_holes(mask) == mask).all():
        assert (again == mask).all()


def test_holes_stay_holes_and_parts_are_joined_by_a_thin_line():
    mask = np.zeros((60, 90), dtype=np.uint8)
    mask[5:40, 5:40] = mask[10:30, 60:85] = 255
    mask[15:25, 15:25] = 0
    again = drawn(label_of(mask), *mask.shape)
    assert not again[16:24, 16:24].any()
    assert (again & (mask == 0)).sum() <= 20  # the line from one part to the other


def test_many_parts_are_joined_in_reasonable_time_and_order():
    mask = np.zeros((200, 200), dtype=np.uint8)
    mask[::4, ::4] = 255  # 2,500 parts of one pixel
    assert drawn(label_of(mask), 200, 200)[::4, ::4].all()
