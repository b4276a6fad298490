"""Figures for any weights of the images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluation.figures import figures, parts_of
from pipeline.evaluation.measures import measure
from pipeline.evaluation.summary import SCALARS, summarise
from tests.pipeline.evaluation.make import make_measured, saliency, truth

IMAGES = [make_measured(number).measures for number in range(1, 9)]


def test_equal_weights_give_the_figures_of_a_dataset():
    found = figures(parts_of(IMAGES), np.full((1, 8), 1 / 8))
    summary = summarise(IMAGES)
    assert set(found) == set(SCALARS)
    for name in SCALARS:
        assert found[name][0] == pytest.approx(getattr(summary, name), abs=1e-14)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=12))
def test_an_image_that_is_there_twice_has_twice_the_weight(places):
    weights = np.bincount(places, minlength=8)[None] / len(places)
    found, summary = figures(parts_of(IMAGES), weights), summarise([IMAGES[place] for place in places])
    for name in SCALARS:
        assert found[name][0] == pytest.approx(getattr(summary, name), abs=1e-12)


def test_the_mean_of_the_maxima_is_no_less_than_the_maximum_of_the_mean():
    summary = summarise(IMAGES)
    assert summary.mean_of_max_f > summary.max_f
    assert summary.mean_of_max_e > summary.max_e


def test_measures_that_were_not_computed_give_no_figures():
    parts = parts_of([measure(saliency(1), truth(1), metrics=("mae",))])
    assert (set(parts.means), set(parts.curves), parts.images) == ({"mae"}, set(), 1)


def test_some_of_the_images_and_differences_of_two():
    parts = parts_of(IMAGES)
    assert parts.of([2, 0]).means["mae"].tolist() == [IMAGES[2].mae, IMAGES[0].mae]
    assert not parts.minus(parts).curves["f_curve"].any()
