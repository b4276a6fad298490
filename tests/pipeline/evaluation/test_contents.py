"""Bytes of pictures in files and tars, and masks that are run lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.errors import SampleError
from pipeline.evaluation.contents import content_of, drawn
from pipeline.evaluation.sources import InTar, Runs, label_of
from pipeline.release.coco_json import empty_counts, encode_mask

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


@given(MASKS)
def test_run_lengths_are_drawn_as_the_mask_that_they_were_made_from(mask):
    height, width = mask.shape
    found = drawn(Runs(label="x", height_px=height, width_px=width, counts=encode_mask(mask).counts))
    assert np.array_equal(found, mask)
    assert (found.dtype, found.flags.c_contiguous) == (np.bool_, True)


@given(st.integers(1, 300), st.integers(1, 300))
def test_an_empty_mask_has_its_size(height, width):
    found = drawn(Runs(label="x", height_px=height, width_px=width, counts=empty_counts(height, width)))
    assert found.shape == (height, width)
    assert not found.any()


def test_a_problem_is_told_when_the_mask_is_asked_for():
    with pytest.raises(SampleError, match=r"undecodable: r\.json, image 7: it is empty"):
        drawn(Runs(label="r.json, image 7", height_px=1, width_px=1, problem="it is empty"))


def test_a_member_of_a_tar_is_read_by_its_place(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"0123456789")
    member = InTar(tar=tmp_path / "a.tar", member="x/7.png", start=3, file_bytes=4)
    assert content_of(member, 100) == b"3456"
    assert label_of(member) == "a.tar/x/7.png"
    with pytest.raises(SampleError, match=r"too_many_bytes: a\.tar/x/7\.png: the limit is 3 bytes"):
        content_of(member, 3)
    torn = InTar(tar=tmp_path / "a.tar", member="7.png", start=8, file_bytes=4)
    with pytest.raises(SampleError, match=r"unreadable: a.tar/7.png: the tar ends in the middle of it"):
        content_of(torn, 100)
