"""Objects: one to three, within the frame, seen against their surroundings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embedded.objects import (
    MAX_AREA,
    MIN_AREA,
    add_clutter,
    cast_shadow,
    draw_layout,
    dress_object,
    harmonise,
    place,
    refill,
    stand_out,
    turn,
)

PX = 64


def make_scene(level=120):
    return np.full((PX, PX, 3), level, np.float32)


@pytest.fixture(scope="module")
def alpha(make_disc):
    return make_disc(PX)[..., 3].astype(np.float32) / 255


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_layout_has_one_to_three_objects_that_are_seen(material, seed):
    layers = draw_layout(material, np.random.default_rng(seed), PX)
    seen = 1 - np.prod([1 - alpha for _, alpha in layers], axis=0)
    assert 1 <= len(layers) <= 3
    assert all(alpha.min() >= 0 and alpha.max() <= 1 for _, alpha in layers)
    assert MIN_AREA <= seen.mean() <= MAX_AREA


@given(st.integers(0, 1000), st.integers(0, 255))
@settings(max_examples=20, deadline=None)
def test_an_object_like_its_surroundings_is_made_to_differ(alpha, seed, level):
    dressed = stand_out(make_scene(level), alpha, make_scene(level))
    assert abs(float(dressed[PX // 2, PX // 2, 0]) - level) > 30


def test_an_object_that_stands_out_is_left_alone(alpha):
    assert np.array_equal(stand_out(make_scene(200), alpha, make_scene(20)), make_scene(200))


def test_harmonising_by_nothing_changes_nothing():
    full = np.ones((PX, PX), np.float32)
    assert np.allclose(harmonise(make_scene(50), full, make_scene(140), 0.0), make_scene(50))


def test_harmonising_moves_an_object_towards_its_scene():
    full = np.ones((PX, PX), np.float32)
    assert 50 < harmonise(make_scene(50), full, make_scene(140), 0.5).mean() < 140


def test_a_refilled_silhouette_has_the_colours_of_a_texture(alpha, material):
    filled = refill(make_scene(120), alpha, material, np.random.default_rng(0))
    assert filled.std() > 20


def test_a_dressed_object_stays_within_its_range(alpha, material):
    for seed in range(30):
        dressed = dress_object(make_scene(250), alpha, make_scene(5), material, np.random.default_rng(seed))
        assert 0 <= dressed.min() <= dressed.max() <= 255


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_shadow_only_darkens(alpha, seed):
    shaded = cast_shadow(make_scene(), alpha, np.random.default_rng(seed))
    assert shaded.max() <= 120
    assert shaded.mean() < 120


def test_nothing_casts_no_shadow():
    scene = make_scene()
    assert cast_shadow(scene, np.zeros((PX, PX), np.float32), np.random.default_rng(0)) is scene


@given(st.integers(0, 1000), st.floats(0.1, 1.5), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_what_leaves_the_frame_is_cut(make_disc, seed, share, at):
    rng = np.random.default_rng(seed)
    colours, alpha = place(turn(make_disc(), rng), share * PX, (at, 1 - at), PX, rng)
    assert (colours.shape, alpha.shape) == ((PX, PX, 3), (PX, PX))
    assert 0 <= alpha.min() <= alpha.max() <= 1


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_clutter_lies_near_the_border(material, seed):
    scene = make_scene()
    changed = np.abs(add_clutter(scene, material, np.random.default_rng(seed)) - scene).max(axis=2) > 2
    assert changed.any()
    assert not changed[28:36, 28:36].any()
