"""Masks as texts: COCO's own tools read them, and nothing else is read as one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from pipeline.passes.mask_text import mask_from_text, mask_to_text, pixels_of, rle_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

SIDES = st.integers(1, 40)
MASKS = st.tuples(SIDES, SIDES).flatmap(lambda sides: arrays(bool, sides))


@given(MASKS)
def test_a_mask_comes_back(mask):
    assert np.array_equal(mask_from_text(mask_to_text(mask), *mask.shape), mask)
    assert np.array_equal(pixels_of(rle_of(mask)), mask)


@given(MASKS)
def test_pycocotools_reads_the_text(mask):
    rle = json.loads(mask_to_text(mask))
    assert rle["size"] == list(mask.shape)
    assert np.array_equal(coco_mask.decode({**rle, "counts": rle["counts"].encode()}), mask)


@given(MASKS)
def test_the_text_depends_on_nothing_but_the_mask(mask):
    assert mask_to_text(np.asfortranarray(mask)) == mask_to_text(np.ascontiguousarray(mask))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5)])
@pytest.mark.parametrize("level", [False, True])
def test_masks_of_nothing_and_of_everything(shape, level):
    mask = np.full(shape, level)
    assert np.array_equal(mask_from_text(mask_to_text(mask), *shape), mask)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"size":[2,4],"counts":"6"}', "run lengths"),  # 22 pixels
        ('{"size":[2,4],"counts":"2"}', "run lengths"),
        ('{"size":[2,4],"counts":""}', "run lengths"),
        ('{"size":[2,4],"counts":"\\u00e9"}', "run lengths"),
        ('{"size":[4,2],"counts":"6"}', "its size is"),
        ('{"size":[1e9,1e9],"counts":"6"}', "its size is"),
        ("[]", "list indices"),
        ("nothing", "Expecting value"),
    ],
)
def test_what_is_no_mask_of_this_size_is_refused(text, found):
    with pytest.raises((ValueError, TypeError, KeyError), match=found):
        mask_from_text(text, 2, 4)
