"""Intervals of figures over the choice of images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import intervals, resampled
from pipeline.evaluation.figures import Parts, parts_of
from tests.pipeline.evaluation.make import make_measured


def maes(values):
    return Parts(means={"mae": np.asarray(values, dtype=np.float64)}, curves={})


@given(st.integers(2, 9), st.floats(0, 1))
def test_images_that_are_all_alike_leave_no_doubt(images, value):
    low, high = intervals(maes([value] * images))["mae"]
    assert low == high == pytest.approx(value, abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_an_interval_stays_between_the_values_and_is_in_order(values):
    low, high = intervals(maes(values))["mae"]
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6


def test_a_mean_has_the_interval_of_the_normal_distribution():
    values = np.random.default_rng(3).normal(0.5, 0.1, 400)
    low, high = intervals(maes(values))["mae"]
    spread = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - spread, abs=0.1 * spread)
    assert high == pytest.approx(values.mean() + spread, abs=0.1 * spread)


def test_maxima_of_mean_curves_are_taken_anew_in_each_draw():
    images = [make_measured(number).measures for number in range(1, 8)]
    curves = np.array([image.f_curve for image in images])
    by_hand = [(weights @ curves).max() for block in resampled(7) for weights in block]
    low, high = intervals(parts_of(images))["max_f"]
    assert (low, high) == pytest.approx(np.percentile(by_hand, (2.5, 97.5)), abs=1e-6)


def test_every_draw_has_as_many_images_and_blocks_change_nothing(monkeypatch):
    whole = np.concatenate(list(resampled(5)))
    assert whole.shape == (2000, 5)
    assert np.allclose(whole.sum(axis=1), 1)
    assert len({tuple(row) for row in whole.tolist()}) > 100
    monkeypatch.setattr(bootstrap, "_BLOCK_VALUES", 35)
    assert np.array_equal(np.concatenate(list(resampled(5))), whole)


def test_one_image_has_no_interval():
    assert intervals(maes([0.5])) == {}
