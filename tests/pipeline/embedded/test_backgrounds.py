"""Backgrounds: any material gives them, within range, and sources are drawn by their share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedded.backgrounds import (
    crop_of,
    draw_background,
    draw_sky,
    gradient,
    ground_and_sky,
    noise_field,
    pick,
    pick_filling,
    skyline,
    studio,
)
from pipeline.embedded.material import Material

PX = 48


@given(st.integers(0, 10000), st.integers(32, 96))
def test_a_background_has_its_shape_and_range(material, seed, px):
    scene, is_plain = draw_background(material, np.random.default_rng(seed), px)
    assert scene.shape == (px, px, 3)
    assert 0 <= scene.min() <= scene.max() <= 255
    assert isinstance(is_plain, bool)


@pytest.mark.parametrize("kinds", [(), ("photo",), ("texture",), ("skyline",)])
def test_any_material_gives_backgrounds(make_material, kinds):
    for seed in range(20):
        assert draw_background(make_material(*kinds), np.random.default_rng(seed), 32)[0].shape == (32, 32, 3)


@pytest.mark.parametrize("maker", [studio, gradient, noise_field])
def test_made_backgrounds_differ_from_draw_to_draw(maker):
    first, second = (maker(np.random.default_rng(seed), PX) for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("maker", [skyline, draw_sky, ground_and_sky])
@pytest.mark.parametrize("seed", range(5))
def test_backgrounds_from_pictures_have_their_shape_and_range(material, maker, seed):
    scene = maker(material, np.random.default_rng(seed), PX)
    assert scene.shape == (PX, PX, 3)
    assert 0 <= scene.min() <= scene.max() <= 255


def test_a_studio_is_nearly_uniform():
    assert all(studio(np.random.default_rng(seed), PX).std(axis=(0, 1)).max() < 40 for seed in range(20))


def test_sources_are_drawn_by_their_share(make_group):
    rare, common = (np.full((4, 4, 3), level, np.uint8) for level in (1, 2))
    material = Material(groups=(make_group("photo", rare, share=1.0), make_group("photo", common, share=9.0)))
    rng = np.random.default_rng(0)
    drawn = [int(pick(material, "photo", rng)[0, 0, 0]) for _ in range(500)]
    assert 20 < drawn.count(1) < 90


def test_without_textures_and_photographs_noise_fills(make_material):
    assert pick_filling(make_material(), np.random.default_rng(0)).shape == (96, 96, 3)


@given(st.integers(0, 1000), st.floats(0.2, 1.0))
def test_a_crop_shows_a_part_of_the_picture(seed, smallest):
    y, x = np.mgrid[:60, :90]
    picture = np.dstack([y * 4, x * 2, x * 0]).astype(np.uint8)
    crop = crop_of(picture, np.random.default_rng(seed), PX, smallest)
    assert crop.shape == (PX, PX, 3)
    rows, columns = crop[..., 0], crop[..., 1]
    assert smallest * 0.85 < (rows.max() - rows.min()) / 4 / 60 <= 1
    assert np.ptp(columns, axis=0).max() <= 2  # upright: columns stay columns
