"""Drawn maps: of any size, in range, the same for the same seed, and of all the kinds that saliency maps have."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.distillation.shapes import draw_map, draw_mask


@given(st.integers(0, 2**32), st.integers(8, 96), st.sampled_from([draw_map, draw_mask]))
@settings(max_examples=60, deadline=None)
def test_a_map_has_its_size_and_range_and_follows_from_its_seed(seed, px, draw):
    drawn, again = (draw(np.random.default_rng(seed), px) for _ in range(2))
    assert (drawn.shape, drawn.dtype) == ((px, px), np.float32)
    assert 0 <= drawn.min() <= drawn.max() <= 1
    assert np.array_equal(drawn, again)


def test_maps_are_empty_full_sharp_soft_thin_and_scattered():
    rng = np.random.default_rng(0)
    maps = [draw_map(rng, 64) for _ in range(400)]
    shares = np.array([(drawn > 0.5).mean() for drawn in maps])
    undecided = np.array([((drawn > 0.1) & (drawn < 0.9)).mean() for drawn in maps])
    assert (shares == 0).any()
    assert (shares == 1).any()
    assert (undecided > 0.2).any()
    assert ((undecided < 0.02) & (shares > 0.05)).any()
    assert 0.05 < shares.mean() < 0.4
